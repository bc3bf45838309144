/** The generator: one spec in, configuration files out. No process, no socket, no clock. */
import { join } from "node:path";
import { tlsFiles } from "./haproxy/tls.ts";
import { renderHaproxy } from "./haproxy.ts";
import { ipvsServices } from "./ipvs.ts";
import { renderCheckers } from "./keepalived.ts";
import { INSTANCE_LAYOUT, type Layout } from "./layout.ts";
import { renderNftables } from "./nftables.ts";
import { renderReplicas } from "./replicas.ts";
import type { AmphoraSpec } from "./spec.ts";
import { renderVrrp } from "./vrrp.ts";

export interface RenderedFile {
  readonly content: string;
  /** file mode bits, such as 0o600 */
  readonly mode: number;
  /** holds a private key: shown to nobody */
  readonly secret?: boolean;
}

/** Path -> file. The first folder says where it belongs: see `targetOf`. */
export type RenderedFiles = ReadonlyMap<string, RenderedFile>;

export const HAPROXY_FOLDER = "haproxy/";
export const HAPROXY_CFG = `${HAPROXY_FOLDER}haproxy.cfg`;
export const CERTIFICATES_FOLDER = "certificates/";
export const KEEPALIVED_FOLDER = "keepalived/";
export const CHECKERS_CONF = `${KEEPALIVED_FOLDER}checkers.conf`;
export const VRRP_CONF = `${KEEPALIVED_FOLDER}vrrp.conf`;
export const NFTABLES_FOLDER = "nftables/";
export const REPLICAS_RULES = `${NFTABLES_FOLDER}replicas.nft`;
export const NFTABLES_RULES = `${NFTABLES_FOLDER}amphora.nft`;
/** Every folder that files are rendered to. What else is in there is removed. */
export const RENDERED_FOLDERS = [HAPROXY_FOLDER, CERTIFICATES_FOLDER, KEEPALIVED_FOLDER, NFTABLES_FOLDER];

/**
 * Every file of an amphora. The same spec and layout always give the same bytes.
 * @param spec as `parseSpec` returned it
 */
export function render(spec: AmphoraSpec, layout: Layout = INSTANCE_LAYOUT): RenderedFiles {
  return new Map([
    [HAPROXY_CFG, { content: renderHaproxy(spec, layout), mode: 0o600 }],
    ...[...tlsFiles(spec)].map(([name, file]) => [CERTIFICATES_FOLDER + name, file] as const),
    ...ipvsFiles(spec, layout),
    ...groupFiles(spec, layout),
  ]);
}

/** None when nothing of the spec is IPVS's to serve. */
function ipvsFiles(spec: AmphoraSpec, layout: Layout): [path: string, file: RenderedFile][] {
  if (ipvsServices(spec).length === 0) return [];
  return [
    [CHECKERS_CONF, { content: renderCheckers(spec, layout), mode: 0o600 }],
    [NFTABLES_RULES, { content: renderNftables(spec), mode: 0o600 }],
  ];
}

/** None when the amphora is alone. */
function groupFiles(spec: AmphoraSpec, layout: Layout): [path: string, file: RenderedFile][] {
  const vrrp = renderVrrp(spec, layout);
  const replicas = renderReplicas(spec);
  return [
    ...(vrrp === null ? [] : [[VRRP_CONF, { content: vrrp, mode: 0o600 }] as [string, RenderedFile]]),
    ...(replicas === null ? [] : [[REPLICAS_RULES, { content: replicas, mode: 0o600 }] as [string, RenderedFile]]),
  ];
}

/** Where a rendered file stands on an instance: certificates and keys on tmpfs, all others below configDir. */
export function targetOf(path: string, layout: Layout): string {
  if (path.startsWith(CERTIFICATES_FOLDER)) return join(layout.certificatesDir, path.slice(CERTIFICATES_FOLDER.length));
  return join(layout.configDir, path);
}
