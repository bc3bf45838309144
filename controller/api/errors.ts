/** What can be wrong with a request. Thrown anywhere, turned into an answer at one place (app.ts). */

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  409: "Conflict",
  413: "Payload Too Large",
  415: "Unsupported Media Type",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
};

export class ApiError extends Error {
  override readonly name: string = "ApiError";
  readonly status: number;
  /** where in the body the fault is, such as `listeners[0].l7policies[1]`; empty: not told, or all of it */
  readonly place: string;

  constructor(status: number, message: string, place = "") {
    super(place === "" ? message : `${message} (in ${place})`);
    this.status = status;
    this.place = place;
  }
}

/** The error with the place in the body that it is about, unless it names one already. */
export function placed(error: unknown, place: string): unknown {
  if (!(error instanceof ApiError) || error.place !== "" || place === "") return error;
  return new ApiError(error.status, error.message, place);
}

/** A load balancer is being changed: the same request may succeed a moment later. */
export class BusyError extends ApiError {
  override readonly name = "BusyError";
  readonly loadBalancerId: string;

  constructor(loadBalancerId: string, message: string) {
    super(409, message);
    this.loadBalancerId = loadBalancerId;
  }
}

export const notFound = (title: string, id: string) => new ApiError(404, `${title} ${shortened(id)} not found.`);

/** A field of a body that can't be as it is. */
export function invalidField(field: string, value: unknown, reason: string): ApiError {
  return new ApiError(400, `Invalid input for field/attribute ${field}. Value: '${shown(value)}'. ${reason}`);
}

/** Of lists and objects only that they are: they may be large, and nested deeper than can be turned into text. */
function shown(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "[…]" : "{…}";
  return shortened(String(value));
}

/** What a client wrote, short enough to be told back. */
export function shortened(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}

/** The body of an answer to a request that failed: the reference's form, and Octavia's beside it. */
export function errorBody(status: number, message: string) {
  return {
    error: { message, code: status, title: TITLES[status] ?? "Error" },
    faultcode: status < 500 ? "Client" : "Server",
    faultstring: message,
    debuginfo: null,
  };
}

/** The body of such an answer of the key manager: Barbican's form. */
export function keyManagerErrorBody(status: number, message: string) {
  return { code: status, title: TITLES[status] ?? "Error", description: message };
}
