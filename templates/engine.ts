/** Handlebars, set up once: strict (an unknown name is an error), no HTML escaping, one quoting helper per syntax. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import Handlebars from "handlebars";
import { quoteHaproxy } from "./haproxy/quote.ts";

/** A template, ready to be filled: view model in, text out. Throws when the template names what the view lacks. */
export type Template<View> = (view: View) => string;

const OPTIONS = { strict: true, noEscape: true, knownHelpersOnly: true, knownHelpers: { haproxy: true } } as const;

const engine = Handlebars.create();
engine.registerHelper("haproxy", (value: unknown) => quoteHaproxy(String(value)));

/**
 * Reads and compiles `<folder>/<name>.hbs` beside this file.
 * @param partials names of further templates of the same folder that it includes
 */
export function loadTemplate<View>(folder: string, name: string, partials: readonly string[] = []): Template<View> {
  const compile = (file: string) => engine.compile(loadText(folder, `${file}.hbs`), OPTIONS);
  const main = compile(name);
  const included = Object.fromEntries(partials.map((each) => [each, compile(each)]));
  return (view) => main(view, { partials: included });
}

/** A file of `folder` beside this one, as it is. */
export function loadText(folder: string, name: string): string {
  return readFileSync(join(import.meta.dirname, folder, name), "utf8");
}
