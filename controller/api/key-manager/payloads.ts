/** Payloads on their way in and out: media types and encodings as Barbican has them (barbican/plugin/util/mime_types.py). */
import type { Context } from "koa";
import { ApiError, shortened } from "../errors.ts";

/** Barbican's default is 20,000; a list of revoked certificates may well be longer. */
export const MOST_PAYLOAD_BYTES = 131_072;

const TEXT = "text/plain";
const OCTETS = "application/octet-stream";
const TYPES = [TEXT, OCTETS, "application/pkcs8"] as const;
export type PayloadType = (typeof TYPES)[number];

/** @returns null for a media type that payloads can't be of */
export function payloadType(text: string): PayloadType | null {
  const [type = "", ...parameters] = text
    .toLowerCase()
    .split(";")
    .map((part) => part.trim());
  if (parameters.some((each) => each !== "charset=utf-8")) return null;
  return TYPES.find((each) => each === type) ?? null;
}

export interface Payload {
  readonly type: PayloadType;
  readonly bytes: Buffer;
}

/** As it stands in the JSON of a new secret. @throws {ApiError} 400, 413 */
export function payloadOf(text: string, contentType: string | null, encoding: string | null): Payload {
  if (contentType === null) throw bad("payload_content_type", "It must be given with a payload.");
  const type = payloadType(contentType);
  if (type === null) throw bad("payload_content_type", `It must be one of ${TYPES.join(", ")}.`);
  if (type === TEXT) {
    if (encoding !== null) throw bad("payload_content_encoding", "A payload of text has none.");
    return { type, bytes: checkSize(Buffer.from(text)) };
  }
  if (encoding === null) throw bad("payload_content_encoding", `It must be base64 for a payload of ${type}.`);
  return { type, bytes: checkSize(fromBase64(text)) };
}

/** As it is sent by itself. @throws {ApiError} 400, 413, 415 */
export function sentPayload(contentType: string, encoding: string, body: Buffer): Payload {
  const type = payloadType(contentType);
  if (type === null || type === "application/pkcs8") {
    throw new ApiError(
      415,
      `Content-Type of '${shortened(contentType)}' is not supported for PUT: ${TEXT}, ${OCTETS}.`,
    );
  }
  if (encoding === "") return { type, bytes: checkSize(body) };
  if (encoding !== "base64" || type === TEXT) {
    throw new ApiError(400, `Content-Encoding of '${shortened(encoding)}' is not supported for ${type}.`);
  }
  return { type, bytes: checkSize(fromBase64(body.toString("latin1"))) };
}

/** Answers with a payload, in a form that the client accepts. @throws {ApiError} 406 */
export function answerPayload(context: Context, { type, bytes }: Payload): void {
  const forms = [...new Set([type, OCTETS, ...(isText(bytes) ? [TEXT] : [])])];
  // without a word of the client's
  const chosen = context.get("Accept") === "" ? OCTETS : context.accepts(forms);
  if (typeof chosen !== "string") {
    throw new ApiError(406, `The payload can be had as ${forms.join(", ")} only; Accept asks for another.`);
  }
  context.set("Cache-Control", "no-store");
  context.type = chosen;
  context.body = bytes;
}

function checkSize(bytes: Buffer): Buffer {
  if (bytes.toString("latin1").trim() === "") throw bad("payload", "It must not be empty.");
  if (bytes.length <= MOST_PAYLOAD_BYTES) return bytes;
  throw new ApiError(413, `The payload has ${bytes.length} bytes: ${MOST_PAYLOAD_BYTES} are the most.`);
}

function fromBase64(text: string): Buffer {
  const packed = text.replace(/\s+/g, "");
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(packed) || packed.length % 4 !== 0) throw bad("payload", "It is no valid base64.");
  return Buffer.from(packed, "base64");
}

function isText(bytes: Buffer): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Never with the value: it may be the secret. */
function bad(property: string, reason: string): ApiError {
  return new ApiError(400, `Invalid property ${property}: ${reason}`);
}
