/** How often a password may be hashed to open what a tenant has stored: whoever made it says how often. */
import forge from "node-forge";

/** In all of a bundle, whose library tries "no password" in two ways: 100,000 for each of its three parts, and more. */
export const MOST_ITERATIONS = 500_000;

const { asn1 } = forge;
/** Its work is N times r times p (RFC 7914, 2). */
const SCRYPT = "1.3.6.1.4.1.11591.4.11";

/**
 * How often the password of an EncryptedPrivateKeyInfo (RFC 5958, 3) is hashed.
 * @throws {Error} when it is none
 */
export function iterationsOf(encrypted: Uint8Array): number {
  const [algorithm] = childrenOf(asn1.fromDer(Buffer.from(encrypted).toString("binary")));
  if (algorithm === undefined) throw new Error("there is no algorithm");
  const all = [algorithm, ...within(algorithm)];
  const isScrypt = all.some(({ type, value }) => type === asn1.Type.OID && asn1.derToOid(String(value)) === SCRYPT);
  const numbers = all.flatMap(({ type, value }) =>
    type === asn1.Type.INTEGER ? Number(`0x${Buffer.from(String(value), "binary").toString("hex") || "0"}`) : [],
  );
  // PBES1 and PBKDF2 (RFC 8018, appendix A) have the iterations first, and nothing larger by right
  if (!isScrypt) return Math.max(1, ...numbers);
  // what says that it is scrypt may stand where OpenSSL does not look: no other number makes it less
  return numbers.slice(0, 3).reduce((product, each) => product * Math.max(1, each), 1);
}

function childrenOf({ value }: forge.asn1.Asn1): forge.asn1.Asn1[] {
  return Array.isArray(value) ? value : [];
}

function within(node: forge.asn1.Asn1): forge.asn1.Asn1[] {
  return childrenOf(node).flatMap((child) => [child, ...within(child)]);
}
