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

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
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

export const notFound = (title: string, id: string) => new ApiError(404, `${title} ${id} not found.`);

/** A field of a body that can't be as it is. */
export function invalidField(field: string, value: unknown, reason: string): ApiError {
  const shown = typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  const short = shown.length > 100 ? `${shown.slice(0, 100)}…` : shown;
  return new ApiError(400, `Invalid input for field/attribute ${field}. Value: '${short}'. ${reason}`);
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
