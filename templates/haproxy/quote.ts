/**
 * A word of HAProxy's configuration language. Plain words stay as they are; anything else is put between single
 * quotes, where no character but the single quote itself has a meaning; that one is written as `'\''`.
 * (HAProxy configuration manual, 2.2 "Quoting and escaping")
 * @throws {RangeError} on control characters: a line end inside a word would start a new directive, and no field that
 * is rendered may hold one
 */
export function quoteHaproxy(text: string): string {
  if (/^[A-Za-z0-9_./:,@+()-]+$/.test(text)) return text;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to refuse
  if (/[\u0000-\u001f\u007f]/.test(text)) throw new RangeError("control characters can't be quoted for HAProxy");
  return `'${text.replaceAll("'", "'\\''")}'`;
}
