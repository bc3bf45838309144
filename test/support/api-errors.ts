/** What every answer to a request that is the client's fault is like. */
import { type Answer, isObject } from "./api.ts";

/**
 * What is not as it should be with the answer to a request that is the client's fault.
 * @param named what its message must hold
 */
export function errorProblems({ status, headers, text, body }: Answer, wanted: number, named = ""): string[] {
  const problems: string[] = [];
  const expect = (holds: boolean, problem: string) => {
    if (!holds) problems.push(problem);
  };
  const error = isObject(body.error) ? body.error : {};
  expect(status === wanted, `the status is ${status}, not ${wanted}`);
  expect(error.code === status && typeof error.title === "string", "error has neither code nor title");
  expect(typeof error.message === "string" && error.message !== "", "error has no message");
  expect(body.faultstring === error.message, "faultstring is not the message");
  expect(body.faultcode === "Client" && body.debuginfo === null, "faultcode and debuginfo are not Octavia's");
  expect(String(body.faultstring).includes(named), `the message does not name ${named}: ${body.faultstring}`);
  expect(text.length < 1000, `the answer has ${text.length} characters`);
  expect(!/\.(ts|js|mjs):\d|node_modules|\bat async\b/.test(text), `the answer shows our code: ${text}`);
  for (const name of ["RequestId", "x-openstack-request-id"]) {
    expect(/^req-[0-9a-f-]{36}$/.test(headers.get(name) ?? ""), `there is no ${name}`);
  }
  return problems;
}
