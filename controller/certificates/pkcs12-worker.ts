/**
 * Opens PKCS #12 bundles (RFC 7292), in a thread of its own: the library works in JavaScript alone and at one go, and
 * whoever makes a bundle says how often its password is hashed.
 */
import { parentPort } from "node:worker_threads";
import forge from "node-forge";
import { MOST_ITERATIONS } from "./iterations.ts";

/** DER; or why there is nothing. */
export type Opened =
  | { readonly certificates: readonly Uint8Array[]; readonly keys: readonly Uint8Array[] }
  | { readonly fault: "iterations" | "password" | "unreadable" };

const { asn1, pkcs12, pki } = forge;

/** OpenSSL takes "no password" for the empty one; others encode it as none at all. */
const NO_PASSWORD = ["", undefined] as const;

/** Of the present bundle. */
let iterations = 0;

/**
 * Has a function of the library's refuse what would take too long, wherever in a bundle it is asked for: its own are
 * JavaScript, but PBKDF2 is OpenSSL's, which no end of this thread breaks off.
 * @param position of the number of iterations among its arguments
 */
function limit(owner: object, name: string, position: number): void {
  const original: unknown = Reflect.get(owner, name);
  if (typeof original !== "function") throw new Error(`node-forge has no ${name}`);
  Reflect.set(owner, name, (...values: readonly unknown[]) => {
    iterations += Number(values[position]);
    if (!(iterations <= MOST_ITERATIONS)) throw new Error("too many iterations");
    return Reflect.apply(original, owner, values);
  });
}

limit(pkcs12, "generateKey", 3);
limit(Reflect.get(pki, "pbe"), "generatePkcs12Key", 3);
limit(forge.pkcs5, "pbkdf2", 2);

function open(bundle: Uint8Array): Opened {
  iterations = 0;
  let structure: forge.asn1.Asn1;
  try {
    structure = asn1.fromDer(Buffer.from(bundle).toString("binary"));
  } catch {
    return { fault: "unreadable" };
  }
  let fault: "password" | "unreadable" = "unreadable";
  for (const password of NO_PASSWORD) {
    try {
      const bags = pkcs12.pkcs12FromAsn1(structure, false, password).safeContents.flatMap(({ safeBags }) => safeBags);
      return { certificates: bags.flatMap(certificate), keys: bags.flatMap(key) };
    } catch (error) {
      if (!(iterations <= MOST_ITERATIONS)) return { fault: "iterations" };
      if (/password|decrypt|padding/i.test(String(error))) fault = "password";
    }
  }
  return { fault };
}

/** The library parses what belongs to RSA, and hands over the rest as it is. */
function certificate({ type, cert, asn1: raw }: forge.pkcs12.Bag): Uint8Array[] {
  if (type !== pki.oids.certBag) return [];
  return [der(cert ? pki.certificateToAsn1(cert) : raw)];
}

function key({ type, key, asn1: raw }: forge.pkcs12.Bag): Uint8Array[] {
  if (type !== pki.oids.keyBag && type !== pki.oids.pkcs8ShroudedKeyBag) return [];
  return [der(key ? pki.wrapRsaPrivateKey(pki.privateKeyToAsn1(key)) : raw)];
}

function der(value: forge.asn1.Asn1): Uint8Array {
  return Buffer.from(asn1.toDer(value).getBytes(), "binary");
}

parentPort?.on("message", (bundle: Uint8Array) => {
  parentPort?.postMessage(open(bundle));
});
