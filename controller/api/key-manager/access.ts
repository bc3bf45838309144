/** The secrets and containers that a caller may do something with, and the answers to one that may not. */
import { type Guarded, mayOn, type SecretAction } from "../../secrets/access.ts";
import type { Store } from "../../store/database.ts";
import { findContainer, findSecret } from "../../store/secrets.ts";
import type { ContainerRow, SecretRow } from "../../store/tables.ts";
import { ApiError, notFound } from "../errors.ts";
import type { Caller } from "../identity.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export const FORBIDDEN = "Policy does not allow this request to be performed.";

/** @throws {ApiError} 404, 403 */
export async function requireSecret(
  { db }: Pick<Store, "db">,
  caller: Caller,
  id: string,
  action: SecretAction,
): Promise<SecretRow> {
  const row = UUID.test(id) ? await findSecret(db, id) : undefined;
  if (row === undefined) throw notFound("Secret", id);
  return allowed(caller, action, row);
}

/** @throws {ApiError} 404, 403 */
export async function requireContainer(
  { db }: Pick<Store, "db">,
  caller: Caller,
  id: string,
  action: SecretAction,
): Promise<ContainerRow> {
  const row = UUID.test(id) ? await findContainer(db, id) : undefined;
  if (row === undefined) throw notFound("Container", id);
  return allowed(caller, action, row);
}

function allowed<T extends Guarded>(caller: Caller, action: SecretAction, row: T): T {
  if (mayOn(caller, action, row)) return row;
  throw new ApiError(403, FORBIDDEN);
}
