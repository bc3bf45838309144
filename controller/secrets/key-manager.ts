/** The key manager, and what makes certificates of what it keeps. */
import type { Tls } from "../certificates/tls.ts";
import type { Vault } from "./vault.ts";

export interface KeyManager {
  readonly vault: Vault;
  readonly tls: Tls;
}
