/** The key manager's API in tests: storing what listeners refer to. */
import { type Answer, isObject, type Json, type TestApi } from "./api.ts";

export const KEYS = "//key-manager/v1";

export interface Call {
  readonly token?: string;
  readonly headers?: Record<string, string>;
}

/** A request to the key manager, which must succeed. @param path below /key-manager/v1, or the URL of an object */
export async function ask(
  api: TestApi,
  method: string,
  path: string,
  body?: unknown,
  call: Call = {},
): Promise<Answer> {
  const answer = await api.call(method, whole(api, path), body, call);
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
  return answer;
}

/** `//key-manager/v1/secrets/…` of a path or URL. */
export function whole(api: TestApi, path: string): string {
  return path.startsWith(api.base) ? `/${path.slice(api.base.length)}` : `${KEYS}${path}`;
}

/** Stores a secret. @returns its URL */
export async function store(
  api: TestApi,
  payload: string | Uint8Array,
  values: Json = {},
  token?: string,
): Promise<string> {
  const isText = typeof payload === "string";
  const given = isText
    ? { payload, payload_content_type: "text/plain" }
    : {
        payload: Buffer.from(payload).toString("base64"),
        payload_content_type: "application/octet-stream",
        payload_content_encoding: "base64",
      };
  const answer = await ask(api, "POST", "/secrets", { ...given, ...values }, token === undefined ? {} : { token });
  return String(answer.body.secret_ref);
}

/** Gives a secret another payload. */
export async function replace(
  api: TestApi,
  secret: string,
  payload: string | Uint8Array,
  token?: string,
): Promise<void> {
  const type = typeof payload === "string" ? "text/plain" : "application/octet-stream";
  const call = { headers: { "content-type": type }, ...(token === undefined ? {} : { token }) };
  await ask(api, "PUT", secret, payload, call);
}

/** A certificate container of secrets with these payloads. @returns its URL */
export async function storeContainer(api: TestApi, parts: Record<string, string>, token?: string): Promise<string> {
  const secret_refs: Json[] = [];
  for (const [name, text] of Object.entries(parts))
    secret_refs.push({ name, secret_ref: await store(api, text, {}, token) });
  const body = { type: "certificate", secret_refs };
  return String((await ask(api, "POST", "/containers", body, token === undefined ? {} : { token })).body.container_ref);
}

/** What is not as it should be with an answer of the key manager to a request that is the client's fault. */
export function keyErrorProblems({ status, text, body }: Answer, wanted: number, named = ""): string[] {
  const problems: string[] = [];
  const expect = (holds: boolean, problem: string) => {
    if (!holds) problems.push(problem);
  };
  expect(status === wanted, `the status is ${status}, not ${wanted}: ${text.slice(0, 300)}`);
  expect(isObject(body) && body.code === status && typeof body.title === "string", "there is neither code nor title");
  expect(typeof body.description === "string" && body.description !== "", "there is no description");
  expect(String(body.description).includes(named), `the description does not name ${named}: ${body.description}`);
  expect(text.length < 1000, `the answer has ${text.length} characters`);
  return problems;
}
