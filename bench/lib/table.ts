/** Tables that read well in a terminal and are Markdown as they are. */

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map(({ title }, i) => Math.max(3, title.length, ...rows.map((row) => (row[i] ?? "").length)));
  const line = (cells: readonly string[]) => {
    const padded = columns.map(({ align }, i) => {
      const [cell, width] = [cells[i] ?? "", widths[i] ?? 0];
      return align === "right" ? cell.padStart(width) : cell.padEnd(width);
    });
    return `| ${padded.join(" | ")} |\n`;
  };
  const rule = columns.map(({ align }, i) => {
    const width = widths[i] ?? 0;
    return align === "right" ? `${"-".repeat(width - 1)}:` : "-".repeat(width);
  });
  return line(columns.map(({ title }) => title)) + line(rule) + rows.map(line).join("");
}
