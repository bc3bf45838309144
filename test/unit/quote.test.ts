import fc from "fast-check";
import t from "tap";
import { quoteHaproxy } from "../../templates/haproxy/quote.ts";

t.test("plain words are left as they are", async (t) => {
  for (const word of ["/health", "10.0.0.1:80", "a-b_c.d+e@f,g"]) t.equal(quoteHaproxy(word), word);
});

t.test("everything else reads back as one and the same word", async () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are refused
      fc.pre(!/[\u0000-\u001f\u007f]/.test(text));
      return readWord(quoteHaproxy(text)) === text;
    }),
  );
});

t.test("a line end can't be quoted", async (t) => {
  for (const text of ["a\nb", "a\r", "\u0000", "\u007f"]) t.throws(() => quoteHaproxy(text), RangeError);
});

/** What HAProxy makes of a word: single quotes take everything literally, a backslash outside them escapes one character. */
function readWord(word: string): string {
  let text = "";
  let quoted = false;
  for (let i = 0; i < word.length; i++) {
    const c = word[i] ?? "";
    if (c === "'") quoted = !quoted;
    else if (c === "\\" && !quoted) text += word[++i] ?? "";
    else if (!quoted && /[\s#"]/.test(c)) throw new Error(`the word ends at ${i}`);
    else text += c;
  }
  if (quoted) throw new Error("the quote does not end");
  return text;
}
