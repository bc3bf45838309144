/** What makes up an API resource. */
import type { Attributes, Values } from "./attribute.ts";

/** What is counted per project, as the API spells it. */
export const QUOTA_NAMES = [
  "load_balancer",
  "listener",
  "member",
  "pool",
  "health_monitor",
  "l7policy",
  "l7rule",
] as const;
export type QuotaName = (typeof QUOTA_NAMES)[number];

export interface Resource<A extends Attributes = Attributes> {
  /** root key of a body: `{"listener": {…}}` */
  readonly name: string;
  /** root key of a list, and the last part of the path */
  readonly plural: string;
  /** in messages: "Listener 0123… not found." */
  readonly title: string;
  readonly table: string;
  readonly attributes: A;
  /** the column that identifies a row, in paths and references */
  readonly key: "id" | "name" | "project_id";
  /** what a project may have only so many of, by this name */
  readonly quota: QuotaName | null;
  /** answer to a DELETE that was taken */
  readonly deleteStatus: number;
}

export type Row<R extends Resource> = Values<R["attributes"]>;

type Defaulted = "deleteStatus" | "quota" | "key";

export function defineResource<const A extends Attributes>(
  resource: Omit<Resource<A>, Defaulted> & Partial<Pick<Resource, Defaulted>>,
): Resource<A> {
  return { deleteStatus: 204, quota: null, key: "id", ...resource };
}
