/** What the controller needs of a key manager. */
import type { Caller } from "../api/identity.ts";

/** What is kept under a reference. */
export type Stored = { readonly version: string } & (
  | { readonly kind: "secret"; readonly payload: Uint8Array }
  | { readonly kind: "container"; readonly type: string; readonly parts: ReadonlyMap<string, Uint8Array> }
);

/** Who wants to use what is kept, and in whose load balancer. */
export interface Reader {
  readonly caller: Caller;
  /** the load balancer's project */
  readonly projectId: string;
}

export interface SecretsDriver {
  /**
   * What is kept under references (URLs or ids), as it is now. What is not there, or not for the reader, is left out.
   * @param reader absent: the controller, for what was checked when a load balancer began to refer to it
   * @throws {Error} when the key manager can't be asked
   */
  read(references: readonly string[], reader?: Reader): Promise<ReadonlyMap<string, Stored>>;
  /** For each reference that there is something under, a text that changes when that does (`Stored.version`). */
  versions(references: readonly string[]): Promise<ReadonlyMap<string, string>>;
}
