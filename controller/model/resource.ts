/** What makes up an API resource. */
import type { Attributes, Values } from "./attribute.ts";

export interface Resource<A extends Attributes = Attributes> {
  /** root key of a body: `{"listener": {…}}` */
  readonly name: string;
  /** root key of a list, and the last part of the path */
  readonly plural: string;
  /** in messages: "Listener 0123… not found." */
  readonly title: string;
  readonly table: string;
  readonly attributes: A;
  /** answer to a DELETE that was taken */
  readonly deleteStatus: number;
}

export type Row<R extends Resource> = Values<R["attributes"]>;

export function defineResource<const A extends Attributes>(
  resource: Omit<Resource<A>, "deleteStatus"> & { readonly deleteStatus?: number },
): Resource<A> {
  return { deleteStatus: 204, ...resource };
}
