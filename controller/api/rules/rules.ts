/** What a resource's rules may be: where a new object belongs, and what must hold before it is made, changed or removed. */

import type { NetworkDriver } from "../../drivers/network.ts";
import type { Attribute } from "../../model/attribute.ts";
import type { LoadBalancer } from "../../model/load-balancer.ts";
import type { Resource, Row } from "../../model/resource.ts";
import type { Trx } from "../../store/database.ts";
import type { Connection } from "../../store/rows.ts";

/** What a client gave, with defaults; each value has passed its attribute's schema. */
export type Given<R extends Resource> = {
  readonly [K in keyof R["attributes"]]?: R["attributes"][K] extends Attribute<infer T> ? T : never;
};

/** Parts of the same load balancer that a change concerns too: they are PENDING_UPDATE until it is carried out. */
export interface Concerned {
  readonly pools?: readonly string[];
  readonly listeners?: readonly string[];
}

export interface RuleContext {
  readonly trx: Trx;
  /** locked until the transaction ends */
  readonly loadBalancer: LoadBalancer;
  readonly network: NetworkDriver;
}

/** Rules of a part of a load balancer. Every function may throw an ApiError; then nothing is changed. */
export interface PartRules<R extends Resource> {
  readonly resource: R;
  /** id of the load balancer that a new object will belong to */
  home(db: Connection, given: Given<R>, parameters: PathParameters): Promise<string>;
  /** checks a new object, and gives the columns that the client does not set */
  create(context: RuleContext, given: Given<R>, parameters: PathParameters): Promise<Partial<Row<R>>>;
  /** carried out once the new row is there */
  created?(context: RuleContext, row: Row<R>, given: Given<R>): Promise<void>;
  /** checks a change, and gives the columns to write */
  update(context: RuleContext, row: Row<R>, patch: Partial<Row<R>>): Promise<Partial<Row<R>>>;
  /** checks a removal, and takes away what depends on the object */
  remove(context: RuleContext, row: Row<R>): Promise<void>;
  concerned(context: RuleContext, row: Row<R>): Promise<Concerned>;
  /** attributes that are worked out from other rows; a fixed number of queries however many rows there are */
  views(db: Connection, rows: readonly Row<R>[]): Promise<ReadonlyMap<string, Record<string, unknown>>>;
}

/** The ids in the path: `pool_id` of `/pools/{pool_id}/members`. */
export type PathParameters = Readonly<Record<string, string>>;
