/** What amphorae say that they can do. */
import type { Store } from "../store/database.ts";
import { type AgentClient, addressOf, RefusedError, UnreachableError } from "./client.ts";

export class Abilities {
  readonly #store: Store;
  readonly #client: AgentClient;

  constructor(store: Store, client: AgentClient) {
    this.#store = store;
    this.#client = client;
  }

  /**
   * The amphorae of a load balancer that say that they lack a capability, such as `ip_vs`. Those that do not answer, or
   * are not there yet, say nothing: they refuse what they can't do when they are given it.
   */
  async lacking(capability: string, loadBalancerId: string): Promise<string[]> {
    const rows = await this.#store.db
      .selectFrom("amphorae")
      .select(["id", "lb_network_ip"])
      .where("loadbalancer_id", "=", loadBalancerId)
      .where("status", "=", "ALLOCATED")
      .orderBy("id")
      .execute();
    const lacks = await Promise.all(
      rows.map(async (row) => {
        try {
          return (await this.#client.info(addressOf(row))).capabilities[capability] === false;
        } catch (error) {
          if (error instanceof UnreachableError || error instanceof RefusedError) return false;
          throw error;
        }
      }),
    );
    return rows.filter((_, i) => lacks[i]).map(({ id }) => id);
  }
}
