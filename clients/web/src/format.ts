// Values of a repository as a person reads them. What is rounded here is exact in the element's title.
import type { Timestamp } from "@bufbuild/protobuf/wkt";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const ABOUT = new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 1 });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export function size(bytes: bigint): string {
  let value = Number(bytes); // 53 bits are plenty for four digits
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

// Short where it is long, as in 1.2M.
export function about(value: bigint): string {
  return value < 1_000_000n ? count(value) : ABOUT.format(value);
}

export function count(value: bigint | number): string {
  return value.toLocaleString("en-GB");
}

export function day(time: Timestamp): string {
  return DAY.format(Number(time.seconds) * 1000);
}

// RFC 3339 with all nine digits: a Date ends at milliseconds.
export function exactTime(time: Timestamp): string {
  const seconds = new Date(Number(time.seconds) * 1000).toISOString().slice(0, 19);
  return time.nanos === 0 ? `${seconds}Z` : `${seconds}.${String(time.nanos).padStart(9, "0")}Z`;
}
