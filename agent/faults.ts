/** What is wrong, in words for an operator. */

/** What was thrown, whatever it is, in its own words. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const FILE_FAULTS: ReadonlyMap<unknown, string> = new Map([
  ["ENOENT", "there is no such file"],
  ["ENOTDIR", "there is no such file"],
  ["EISDIR", "is a folder"],
  ["EACCES", "may not be read by this user"],
]);

/** @param error of reading a file, or of understanding what it holds */
export function fileFault(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return FILE_FAULTS.get(code) ?? messageOf(error);
}
