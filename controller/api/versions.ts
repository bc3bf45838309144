/** The versions of the API that `GET /` lists: clients take the last one, the only CURRENT one, and gate features on it. */

/** Newest last. Raised when everything that Octavia's version of that number added is there. */
const MINOR_VERSIONS = [0] as const;
const UPDATED = "2026-11-23T00:00:00Z";

/** @param base the URL that the request was sent to, such as http://127.0.0.1:9876 */
export function versionDocument(base: string) {
  const last = MINOR_VERSIONS.at(-1);
  return {
    versions: MINOR_VERSIONS.map((minor) => ({
      id: `v2.${minor}`,
      status: minor === last ? "CURRENT" : "SUPPORTED",
      updated: UPDATED,
      links: [{ href: `${base}/v2`, rel: "self" }],
    })),
  };
}
