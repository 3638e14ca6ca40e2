/** A registry of npm packages on this machine: one tarball of ours, everything else from the registry that npm uses. */
import { createHash } from "node:crypto";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";

export interface Registry {
  /** For `NPM_CONFIG_REGISTRY`. */
  url: string;
  close(): void;
}

/** @param manifest the package.json of the tarball. */
export async function startRegistry(
  manifest: { name: string; version: string },
  tarball: string | URL,
): Promise<Registry> {
  const { stdout } = await promisify(execFile)("npm", ["config", "get", "registry"]);
  const upstream = stdout.trim().replace(/\/*$/, "/"), bytes = await readFile(tarball);
  const { name, version } = manifest, file = `/${name}/-/${name}-${version}.tgz`;
  const server = createServer(async ({ url = "/", headers }, response) => {
    try {
      if (url === file) return response.end(bytes);
      if (url === `/${name}`) {
        const dist = {
          tarball: `http://${headers.host}${file}`,
          shasum: createHash("sha1").update(bytes).digest("hex"),
          integrity: `sha512-${createHash("sha512").update(bytes).digest("base64")}`,
        };
        response.setHeader("content-type", "application/json");
        const document = { name, "dist-tags": { latest: version }, versions: { [version]: { ...manifest, dist } } };
        return response.end(JSON.stringify(document));
      }
      const answer = await fetch(upstream + url.slice(1), { headers: { accept: headers.accept ?? "*/*" } });
      response.statusCode = answer.status;
      response.setHeader("content-type", answer.headers.get("content-type") ?? "application/json");
      response.end(new Uint8Array(await answer.arrayBuffer()));
    } catch (error) {
      response.statusCode = 502;
      response.end(String(error));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
