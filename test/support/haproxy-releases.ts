/** Tests on each release of HAProxy that amphorae are built with. */
import t, { type Test } from "tap";
import { haproxyOf, RELEASES, type Release } from "./haproxy-programs.ts";

/**
 * Tests on each release, which share what is prepared for them: starting an agent takes longer than most of them.
 * @param prepare gets the path of the program
 */
export function onEachRelease<Site>(
  name: string,
  prepare: (t: Test, haproxy: string) => Promise<Site>,
  tests: Readonly<Record<string, (t: Test, site: Site) => Promise<void>>>,
): void {
  for (const release of chosen()) {
    t.test(`${name} (HAProxy ${release})`, async (t) => {
      const site = await prepare(t, await haproxyOf(release));
      for (const [title, body] of Object.entries(tests)) await t.test(title, (t) => body(t, site));
    });
  }
}

/** All of them, or the one that the person running the tests has named. */
function chosen(): Release[] {
  const all = Object.keys(RELEASES) as Release[];
  const named = process.env.AMPHORA_TEST_HAPROXY;
  if (named === undefined) return all;
  const found = all.filter((release) => release === named);
  if (found.length === 0) throw new Error(`AMPHORA_TEST_HAPROXY names none of ${all.join(", ")}: ${named}`);
  return found;
}
