/** The generator: one spec in, configuration files out. No process, no socket, no clock. */
import { renderHaproxy } from "./haproxy.ts";
import { INSTANCE_LAYOUT, type Layout } from "./layout.ts";
import type { AmphoraSpec } from "./spec.ts";

export interface RenderedFile {
  readonly content: string;
  /** file mode bits, such as 0o600 */
  readonly mode: number;
}

/** Path below the layout's configDir -> file. */
export type RenderedFiles = ReadonlyMap<string, RenderedFile>;

export const HAPROXY_FOLDER = "haproxy/";
export const HAPROXY_CFG = `${HAPROXY_FOLDER}haproxy.cfg`;

/**
 * Every configuration file of an amphora. The same spec and layout always give the same bytes.
 * @param spec as `parseSpec` returned it
 */
export function render(spec: AmphoraSpec, layout: Layout = INSTANCE_LAYOUT): RenderedFiles {
  return new Map([[HAPROXY_CFG, { content: renderHaproxy(spec, layout), mode: 0o600 }]]);
}
