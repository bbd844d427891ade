#!/usr/bin/env bash
# Link: of eight libraries that look for the next page in a Link header seven lose it, or make another URL of it, for valid headers.
#
# APIs that list by pages, those of registries among them, tell the next page in `Link: <URL>; rel="next"`, and who writes a loop
# over it thinks that a library reads what RFC 8288 allows, or complains. None complains. Where one page is the next and the last
# one, `rel="next last"` may say so: five of the eight find no next page then, and the loop ends as behind a whole list. A comma
# in the URL, as a cursor may have, vanishes in peterhellberg/link, which goes on with another cursor; at a semicolon in it requests
# and httpx cut it off. `Rel`, `Next`, a blank behind the URL, and a title with punctuation are each too much for some. Only
# http-link-header reads all. Who lists should compare what came with the total, where the API tells one.
#
# Seen with requests 2.34.2, httpx 0.28.1 and aiohttp 3.14.5 on CPython 3.11, parse-link-header 2.0.0, http-link-header 1.1.4 and li
# 1.3.0 on Node 20, peterhellberg/link 1.2.0 and tomnomnom/linkheader of 2018-09-05 on Go 1.26, and Linux: the table below. Fails
# should one of them read a header otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check requests==2.34.2 httpx==0.28.1 aiohttp==3.14.5
npm install --silent --no-fund --no-audit --ignore-scripts parse-link-header@2.0.0 http-link-header@1.1.4 li@1.3.0
mkdir go
cat >go/go.mod <<'GO'
module next

go 1.25.0

require (
	github.com/peterhellberg/link v1.2.0
	github.com/tomnomnom/linkheader v0.0.0-20180905144013-02ca5825eb80
)
GO
cat >go/main.go <<'GO'
// Prints the next page's URL, "" for none, of each header that it reads, by each library.
package main

import (
	"encoding/json"
	"os"

	"github.com/peterhellberg/link"
	"github.com/tomnomnom/linkheader"
)

func main() {
	var headers []string
	if err := json.NewDecoder(os.Stdin).Decode(&headers); err != nil {
		panic(err)
	}
	next := map[string][]string{}
	for _, header := range headers {
		var hellberg, tomnomnom string
		if found := link.Parse(header)["next"]; found != nil {
			hellberg = found.URI
		}
		if found := linkheader.Parse(header).FilterByRel("next"); len(found) > 0 {
			tomnomnom = found[0].URL
		}
		next["peterhellberg/link"] = append(next["peterhellberg/link"], hellberg)
		next["tomnomnom/linkheader"] = append(next["tomnomnom/linkheader"], tomnomnom)
	}
	json.NewEncoder(os.Stdout).Encode(next)
}
GO
(cd go && GOFLAGS=-mod=mod go build -o next . 2>go.log || { cat go.log >&2; exit 1; })
cat >next.mjs <<'JAVASCRIPT'
// The same.
import { readFileSync } from "node:fs";
import LinkHeader from "http-link-header";
import li from "li";
import parse from "parse-link-header";

const libraries = {
  "parse-link-header": (header) => parse(header)?.next?.url,
  "http-link-header": (header) => LinkHeader.parse(header).rel("next")[0]?.uri,
  li: (header) => li.parse(header).next,
};
const headers = JSON.parse(readFileSync(0));
const next = Object.entries(libraries).map(([name, find]) => [name, headers.map((header) => find(header) ?? "")]);
console.log(JSON.stringify(Object.fromEntries(next)));
JAVASCRIPT
cat >look.py <<'PYTHON'
import asyncio
import json
import subprocess

import aiohttp
import httpx
import requests
from aiohttp import web

URL = "https://any.example/list"
LIBRARIES = (
    "requests",
    "httpx",
    "aiohttp",
    "parse-link-header",
    "http-link-header",
    "li",
    "peterhellberg/link",
    "tomnomnom/linkheader",
)
# The query of the next page, what stands behind the URL, and what each library finds: "ok", "-" for nothing, or another query.
HEADERS = (
    ("after=2", '; rel="next"', "ok ok ok ok ok ok ok ok"),
    ("after=2", '; rel="next last"', "- - - ok ok ok - -"),
    ("after=2", "; Rel=next", "- - - - ok - - ok"),
    ("after=2", '; rel="Next"', "- - - - ok - - -"),
    ("after=2", ' ; rel="next"', "ok ok ok ok ok - - ok"),
    ("after=2", '; title="a, b"; rel="next"', "ok ok ok ok ok ok ok -"),
    ("after=2", '; title="a; b"; rel="next"', "- - ok ok ok ok ok ok"),
    ("after=1,2", '; rel="next"', "ok ok ok ok ok ok after=12 -"),
    ("after=2;limit=9", '; rel="next"', "after=2 after=2 ok ok ok ok ok -"),
)


def by_requests(header: str) -> str:
    response = requests.Response()
    response.headers["Link"] = header
    return response.links.get("next", {}).get("url", "")


def by_httpx(header: str) -> str:
    return httpx.Response(200, headers={"Link": header}).links.get("next", {}).get("url", "")


async def by_aiohttp(headers: list[str]) -> list[str]:
    """Return the same for each header, from a server that sends it: aiohttp makes no response without one."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(headers={"Link": headers[int(request.match_info["index"])]})

    application = web.Application()
    application.router.add_get("/{index}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found = []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        for index in range(len(headers)):
            async with session.get(f"/{index}") as response:
                found.append(str(response.links["next"]["url"]) if "next" in response.links else "")
    await runner.cleanup()
    return found


def by_program(headers: list[str], *command: str) -> dict[str, list[str]]:
    return json.loads(subprocess.run(command, input=json.dumps(headers), check=True, capture_output=True, text=True).stdout)


headers = [f"<{URL}?{query}>{rest}" for query, rest, _ in HEADERS]
next_page = {
    "requests": [by_requests(header) for header in headers],
    "httpx": [by_httpx(header) for header in headers],
    "aiohttp": asyncio.run(by_aiohttp(headers)),
    **by_program(headers, "node", "next.mjs"),
    **by_program(headers, "go/next"),
}
changed = False
for index, (query, _, expected) in enumerate(HEADERS):
    found = (next_page[name][index].removeprefix(f"{URL}?") for name in LIBRARIES)
    cells = ["ok" if cell == query else cell or "-" for cell in found]
    changed |= cells != expected.split()
    print(headers[index])
    print("    " + ", ".join(f"{name}: {cell}" for name, cell in zip(LIBRARIES, cells, strict=True)))
assert not changed, "a library reads a header otherwise than it did"
PYTHON
venv/bin/python look.py
