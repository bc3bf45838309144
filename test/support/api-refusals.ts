/** Tables of requests that are refused. */
import type { Test } from "tap";
import type { Json, TestApi } from "./api.ts";
import { errorProblems } from "./api-errors.ts";
import { contents } from "./tree.ts";

/** Status, what the message names, method, path, root key, and what stands under it. */
export type Refusal = readonly [number, string, "POST" | "PUT" | "DELETE", string, string?, (Json | readonly Json[])?];

/** Each request is refused as the table says, and none of them changes anything. */
export async function expectRefused(
  t: Pick<Test, "strictSame">,
  api: TestApi,
  refusals: readonly Refusal[],
): Promise<void> {
  const before = await contents(api.store);
  for (const [status, named, method, path, kind, values] of refusals) {
    const body = kind === undefined ? undefined : { [kind]: values };
    const problems = errorProblems(await api.call(method, path, body), status, named);
    t.strictSame(problems, [], `${method} ${path} ${JSON.stringify(values)}`);
  }
  t.strictSame(await contents(api.store), before, "nothing has changed");
}
