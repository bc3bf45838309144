/** Who may read a secret or container besides its project, and whether all of the project may. */
import { type Acl, aclOf, type Guarded } from "../../secrets/access.ts";
import type { Store } from "../../store/database.ts";
import { timestamp } from "../../store/rows.ts";
import type { Caller } from "../identity.ts";
import { requireContainer, requireSecret } from "./access.ts";
import { aclBody, parseBody } from "./bodies.ts";
import type { Plural } from "./links.ts";

export class Acls {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** As Barbican shows it: the default one has neither users nor times. @throws {ApiError} 404, 403 */
  async show(caller: Caller, plural: Plural, id: string): Promise<{ read: Partial<Acl> }> {
    const row = await this.#require(caller, plural, id);
    return { read: row.acl === null ? { "project-access": aclOf(row)["project-access"] } : aclOf(row) };
  }

  /** @param how what was left out: `replace` gives it its default, `update` leaves it @throws {ApiError} 400, 404, 403 */
  async set(caller: Caller, plural: Plural, id: string, body: unknown, how: "replace" | "update"): Promise<void> {
    const row = await this.#require(caller, plural, id);
    const { read } = parseBody(aclBody, body);
    if (read === undefined) {
      if (how === "replace") await this.#write(plural, id, null);
      return;
    }
    const before = aclOf(how === "replace" ? { ...row, acl: null } : row);
    await this.#write(plural, id, {
      "project-access": read["project-access"] ?? before["project-access"],
      users: [...new Set(read.users ?? before.users)],
      created: aclOf(row).created ?? timestamp(),
      updated: timestamp(),
    });
  }

  /** @throws {ApiError} 404, 403 */
  async remove(caller: Caller, plural: Plural, id: string): Promise<void> {
    await this.#require(caller, plural, id);
    await this.#write(plural, id, null);
  }

  #require(caller: Caller, plural: Plural, id: string): Promise<Guarded> {
    const require = plural === "secrets" ? requireSecret : requireContainer;
    return require(this.#store, caller, id, "change");
  }

  async #write(plural: Plural, id: string, acl: Acl | null): Promise<void> {
    const table = plural === "secrets" ? "secrets" : "secret_containers";
    const text = acl === null ? null : JSON.stringify(acl);
    await this.#store.db.updateTable(table).set({ acl: text }).where("id", "=", id).execute();
  }
}
