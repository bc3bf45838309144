/** haproxy.cfg: its view model is put together here from the parts in haproxy/, which hold the decisions. */
import { loadTemplate } from "./engine.ts";
import { type BackendView, backendViews } from "./haproxy/backend.ts";
import { type FrontendView, frontendViews } from "./haproxy/frontend.ts";
import { type GroupView, groupView } from "./haproxy/group.ts";
import { activeListeners } from "./haproxy/names.ts";
import type { Layout } from "./layout.ts";
import { TABLES_PORT } from "./ports.ts";
import type { AmphoraSpec } from "./spec.ts";

export { backendsOf, poolOfBackend } from "./haproxy/names.ts";

/** Everything that haproxy.cfg says of a spec, whatever the layout. */
export interface HaproxyView {
  readonly group: GroupView | null;
  readonly frontends: readonly FrontendView[];
  readonly backends: readonly BackendView[];
}

const template = loadTemplate<HaproxyView & { layout: Layout; tablesPort: number }>("haproxy", "haproxy.cfg", [
  "group",
  "frontend",
  "backend",
]);

const views = new WeakMap<AmphoraSpec, HaproxyView>();

/** The same view for the same spec, which is not to change: a spec is rendered, and compared with the next one. */
export function haproxyView(spec: AmphoraSpec): HaproxyView {
  const known = views.get(spec);
  if (known !== undefined) return known;
  const view = { group: groupView(spec), frontends: frontendViews(spec), backends: backendViews(spec) };
  views.set(spec, view);
  return view;
}

/** The text of haproxy.cfg. */
export function renderHaproxy(spec: AmphoraSpec, layout: Layout): string {
  return template({ ...haproxyView(spec), layout, tablesPort: TABLES_PORT });
}

/** Every address and port that HAProxy listens on for a spec. */
export function bindsOf(spec: AmphoraSpec): { readonly address: string; readonly port: number }[] {
  return activeListeners(spec).flatMap(({ protocol_port: port }) => spec.vips.map((address) => ({ address, port })));
}
