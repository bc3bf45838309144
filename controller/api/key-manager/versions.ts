/** What versions of Barbican's API there are, and which one a request asks for. */
import type { Context } from "koa";
import { ApiError, shortened } from "../errors.ts";
import { origin } from "../requests.ts";
import { V1 } from "./links.ts";

/** 1.1 has consumers of secrets, and shows them. */
const MICROVERSIONS = ["1.0", "1.1"] as const;
export type Microversion = (typeof MICROVERSIONS)[number];

const HEADER = "OpenStack-API-Version";

/** The version that the client asks for in a header; the oldest one unless it does. @throws {ApiError} 406 */
export function microversion(context: Context): Microversion {
  const asked = context
    .get(HEADER)
    .split(",")
    .map((each) => each.trim().split(/\s+/))
    .find(([service]) => service === "key-manager")?.[1];
  const newest = MICROVERSIONS[MICROVERSIONS.length - 1];
  const version = asked === "latest" ? newest : MICROVERSIONS.find((each) => each === (asked ?? MICROVERSIONS[0]));
  if (version === undefined) {
    throw new ApiError(
      406,
      `There is no version ${shortened(asked ?? "")} of the key manager: ${MICROVERSIONS.join(", ")}.`,
    );
  }
  return version;
}

/** Says in an answer which version it is of. */
export function answerVersion(context: Context): void {
  context.set(HEADER, `key-manager ${microversion(context)}`);
  context.append("Vary", HEADER);
}

export function versionDetails(context: Context) {
  const links = [{ rel: "self", href: `${origin(context)}${V1}/` }];
  if (microversion(context) !== "1.0") {
    const [min_version, max_version] = [MICROVERSIONS[0], MICROVERSIONS[MICROVERSIONS.length - 1]];
    return { id: "v1", status: "CURRENT", min_version, max_version, links };
  }
  const media = { base: "application/json", type: "application/vnd.openstack.key-manager-v1+json" };
  return { id: "v1", status: "stable", links, "media-types": [media] };
}

export function versionList(context: Context) {
  const version = versionDetails(context);
  return { versions: microversion(context) === "1.0" ? { values: [version] } : [version] };
}
