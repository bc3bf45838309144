/** Which attributes of listeners and pools name something in the key manager, and what that must be. */
import type { Listener } from "./listener.ts";
import type { Pool } from "./pool.ts";

/** A certificate with its key, certificates of authorities, or lists of revoked certificates. */
export type Purpose = "certificate" | "authorities" | "revocations";

export const LISTENER_REFERENCES = {
  default_tls_container_ref: "certificate",
  sni_container_refs: "certificate",
  client_ca_tls_container_ref: "authorities",
  client_crl_container_ref: "revocations",
} as const satisfies Partial<Record<keyof Listener, Purpose>>;

export const POOL_REFERENCES = {
  tls_container_ref: "certificate",
  ca_tls_container_ref: "authorities",
  crl_container_ref: "revocations",
} as const satisfies Partial<Record<keyof Pool, Purpose>>;

export type ReferenceAttribute = keyof typeof LISTENER_REFERENCES | keyof typeof POOL_REFERENCES;

/** That a listener or pool uses what is kept under a reference. */
export interface TlsUse {
  readonly kind: "listener" | "pool";
  readonly id: string;
  readonly attribute: ReferenceAttribute;
  readonly purpose: Purpose;
  /** as it was given: a URL, or an id */
  readonly reference: string;
}

/** @param id empty: it is not there yet */
export function usesOfListener(row: Partial<Pick<Listener, keyof typeof LISTENER_REFERENCES>>, id: string): TlsUse[] {
  return usesOf("listener", id, row, LISTENER_REFERENCES);
}

/** @param id empty: it is not there yet */
export function usesOfPool(row: Partial<Pick<Pool, keyof typeof POOL_REFERENCES>>, id: string): TlsUse[] {
  return usesOf("pool", id, row, POOL_REFERENCES);
}

function usesOf<A extends ReferenceAttribute>(
  kind: TlsUse["kind"],
  id: string,
  row: Readonly<Partial<Record<NoInfer<A>, string | readonly string[] | null>>>,
  attributes: Readonly<Record<A, Purpose>>,
): TlsUse[] {
  return (Object.entries(attributes) as [A, Purpose][]).flatMap(([attribute, purpose]) =>
    [row[attribute] ?? []].flat().map((reference) => ({ kind, id, attribute, purpose, reference })),
  );
}
