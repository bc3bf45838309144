/** What a resource's rules may be: where a new object belongs, and what must hold before it is made, changed or removed. */
import type { Attribute } from "../../model/attribute.ts";
import type { Resource, Row } from "../../model/resource.ts";
import type { Connection } from "../../store/rows.ts";
import type { Change, Concerned } from "../change.ts";
import type { Precheck } from "../services.ts";

/** What a client gave, with defaults; each value has passed its attribute's schema. */
export type Given<R extends Resource> = {
  readonly [K in keyof R["attributes"]]?: R["attributes"][K] extends Attribute<infer T> ? T : never;
};

/** Rules of a part of a load balancer. Every function may throw an ApiError; then nothing is changed. */
export interface PartRules<R extends Resource> {
  readonly resource: R;
  /** id of the load balancer that a new object will belong to */
  home(db: Connection, given: Given<R>, parameters: PathParameters): Promise<string>;
  /** checks that take their time, made before anything is locked; @param values as they are to be */
  precheck?(values: Given<R>, circumstances: Precheck): Promise<void>;
  /** checks a new object, and gives the columns that are to be otherwise */
  create(change: Change, row: Row<R>, given: Given<R>): Promise<Partial<Row<R>>>;
  /** carried out once the new row is there */
  created?(change: Change, row: Row<R>, given: Given<R>): Promise<void>;
  /** checks a change, and gives the columns to write */
  update(change: Change, row: Row<R>, patch: Partial<Row<R>>): Promise<Partial<Row<R>>>;
  /** checks a removal, and takes away what depends on the object */
  remove(change: Change, row: Row<R>): Promise<void>;
  /** what else of the load balancer is changed with it */
  concerned(change: Change, row: Row<R>): Promise<Concerned>;
  /** attributes that are worked out from other rows; a fixed number of queries however many rows there are */
  views(db: Connection, rows: readonly Row<R>[]): Promise<ReadonlyMap<string, Record<string, unknown>>>;
}

/** The ids in the path: `pool_id` of `/pools/{pool_id}/members`. */
export type PathParameters = Readonly<Record<string, string>>;
