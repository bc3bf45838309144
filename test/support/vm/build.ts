/** Builds what test machines boot, and prints the folder where it is. */
import { build } from "./base.ts";

process.stdout.write(`${await build()}\n`);
