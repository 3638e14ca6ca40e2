/** Pictures of pages, to be looked at. */
import { mkdir, writeFile } from "node:fs/promises";
import process from "node:process";
import type { Page } from "playwright-core";

/** Keeps a picture of a page where the environment's SCREENSHOTS names a folder. */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.SCREENSHOTS;
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/${name}.png`, await page.screenshot({ fullPage: true }));
}
