/** What the API asks of others before it locks anything: these checks take their time. */
import type { Abilities } from "../amphorae/abilities.ts";
import type { ConnectionsClient } from "../amphorae/connections.ts";
import type { Tls } from "../certificates/tls.ts";
import type { RegularExpressions } from "../regular-expressions.ts";
import type { Caller } from "./identity.ts";

export interface Services {
  /** null: there is no key manager, and every reference is taken for one of something that fits */
  readonly tls: Tls | null;
  /** null: there is no HAProxy here, and amphorae find out what it can't compile */
  readonly regularExpressions: RegularExpressions | null;
  /** null: none is driven */
  readonly amphorae: { readonly abilities: Abilities; readonly connections: ConnectionsClient } | null;
}

/** The circumstances of a check. */
export interface Precheck {
  readonly services: Services;
  readonly caller: Caller;
  /** The project of the load balancer. @throws {ApiError} 404, 403 when the caller must not change that */
  readonly projectId: () => Promise<string>;
  /** whether the client wrote that attribute; what stays as it was is not checked again */
  readonly isGiven: (attribute: string) => boolean;
}
