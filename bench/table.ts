/** Markdown on the console. */

/** Prints a heading and a table; columns after the first are figures and stand on the right. */
export function printTable(title: string, columns: readonly string[], rows: readonly (readonly string[])[]): void {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = columns.map((_, i) => (i === 0 ? ":--" : "--:"));
  console.log(["", `### ${title}`, "", ...[columns, rule, ...rows].map(line)].join("\n"));
}

export function printNote(text: string): void {
  console.log(`\n${text}`);
}

/** Milliseconds with the digits that mean something. */
export function ms(value: number): string {
  return value < 1 ? value.toFixed(3) : value.toFixed(2);
}

/** Mebibytes. */
export function MiB(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
