/**
 * Spans of bytes, and what is missing between them.
 *
 * @module
 */

/** Bytes `from` to `to`, `to` exclusive. */
export interface Span {
  from: number;
  to: number;
}

/** The same bytes, and gaps of at most `gap` bytes between them, as spans in order that neither overlap nor touch. */
export function merged(spans: readonly Span[], gap: number = 0): Span[] {
  const result: Span[] = [];
  for (const { from, to } of [...spans].sort((a, b) => a.from - b.from)) {
    const last = result[result.length - 1];
    if (to <= from) continue;
    if (last && from <= last.to + gap) last.to = Math.max(last.to, to);
    else result.push({ from, to });
  }
  return result;
}

/** What of `wanted` is not in `had`. */
export function missing(wanted: readonly Span[], had: readonly Span[]): Span[] {
  const known = merged(had), result: Span[] = [];
  for (const { from, to } of merged(wanted)) {
    let at = from;
    for (const have of known) {
      if (have.to <= at || have.from >= to) continue;
      if (have.from > at) result.push({ from: at, to: have.from });
      at = have.to;
    }
    if (at < to) result.push({ from: at, to });
  }
  return result;
}

/** Cut into spans of at most `most` bytes. */
export function cut(spans: readonly Span[], most: number): Span[] {
  return spans.flatMap(({ from, to }) =>
    Array.from({ length: Math.ceil((to - from) / most) }, (_, i) => ({
      from: from + i * most,
      to: Math.min(to, from + (i + 1) * most),
    }))
  );
}

/** Bytes in all. */
export function lengthOf(spans: readonly Span[]): number {
  return spans.reduce((n, { from, to }) => n + to - from, 0);
}
