/**
 * Colour maps in which equal steps look equal, by nine of their colours each (matplotlib's magma and viridis, CC0).
 *
 * @module
 */
import type { Colour } from "./png.ts";

const MAGMA = ["fcfdbf", "fec287", "fb8761", "e55064", "b5367a", "812581", "4f127b", "1c1044", "000004"];
const VIRIDIS = ["440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"];

/** From quiet, almost white, to loud, almost black: 256 colours. */
export const LEVELS: readonly Colour[] = ramp(["ffffff", ...MAGMA]);
/** From low codes to high ones: 256 colours. */
export const CODES: readonly Colour[] = ramp(VIRIDIS);

/** 256 colours on straight lines between the given ones. */
function ramp(stops: string[]): Colour[] {
  const colours = stops.map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, i) => {
    const at = i / 255 * (stops.length - 1), from = Math.min(stops.length - 2, Math.floor(at));
    return [0, 1, 2].map((c) =>
      Math.round(colours[from][c] + (at - from) * (colours[from + 1][c] - colours[from][c]))
    ) as unknown as Colour;
  });
}
