// Numbers and times as people read them. Pure.

/** Seconds as 9:58 or 1:02:03, as the server's "clock" filter writes them. */
export function clock(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** Bytes in binary units, as Jinja's filesizeformat(true) writes them. */
export function bytes(count) {
  const units = ["Bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit ? `${value.toFixed(1)} ${units[unit]}` : `${value} ${units[0]}`;
}

/** A date; today's only as a time. */
export function moment(date, language, now = new Date()) {
  const today = date.toDateString() === now.toDateString();
  const style = today
    ? { hour: "2-digit", minute: "2-digit" }
    : { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
  return new Intl.DateTimeFormat(language, style).format(date);
}
