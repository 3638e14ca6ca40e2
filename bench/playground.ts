/** From a press of the playground's button to the first decoded sound, in a real Chromium: the page as it is built. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { ROOT } from "../scripts/bundle.ts";
import { withBrowser } from "../tests/support/browser.ts";
import { noBrowser } from "../tests/support/chromium.ts";
import { median } from "./stats.ts";
import { ms, printNote, printTable } from "./table.ts";

const ROUNDS = 5;

export async function playground(): Promise<void> {
  if (noBrowser) return printNote(`Playground: skipped, ${noBrowser}.`);
  if (!existsSync(`${ROOT}dist/mod.js`)) return printNote("Playground: skipped, `npm run build` comes first.");
  const folder = await mkdtemp(join(tmpdir(), "mimi-bench-")), site = join(folder, "site");
  try {
    const args = ["build", "examples/playground", "--outDir", site, "--logLevel", "error"];
    await promisify(execFile)(process.execPath, ["node_modules/vite/bin/vite.js", ...args], { cwd: ROOT });
    const first: number[] = [], second: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await withBrowser(async ({ serve, open }) => {
        const { url } = await serve({ "/": pathToFileURL(`${site}/`) }), { page } = await open(url);
        for (const times of [first, second]) {
          await page.evaluate(() => performance.clearMarks());
          await page.getByRole("button", { name: "Play the sample" }).click();
          await page.waitForFunction(() => performance.getEntriesByName("heard").length > 0);
          times.push(
            await page.evaluate(() => {
              const [pressed, heard] = ["pressed", "heard"].map((name) =>
                performance.getEntriesByName(name)[0].startTime
              );
              return heard - pressed;
            }),
          );
        }
      });
    }
    printTable(
      "Playground in Chromium, embedded model: from the press of a button to the first decoded sound of 3.2 s of speech",
      ["", "median ms"],
      [["first press: model and pictures are loaded", ms(median(first))], ["second press", ms(median(second))]],
    );
    printNote(
      `Medians of ${ROUNDS} new browsers, from a server on the same machine. All of it is encoded and decoded before it plays.`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
