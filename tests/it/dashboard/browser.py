"""Drives a headless Chromium over its DevTools protocol: reads commands as JSON lines, answers with
JSON lines. What the page logs as an error, or throws, is kept and told when it is asked for.

  {"open": URL} {"eval": EXPRESSION} {"until": EXPRESSION} {"key": KEY} {"type": TEXT}
  {"dark": true|false} {"size": [W, H]} {"screenshot": FILE} {"script": FILE} {"errors": true}
"""

import asyncio
import base64
import json
import subprocess
import sys
import tempfile

import websockets

# A browser takes its time on a busy machine.
LIMIT = 60

KEYS = {
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "Tab": ("Tab", 9, ""),
    "/": ("Slash", 191, "/"),
    "?": ("Slash", 191, "?"),
    "t": ("KeyT", 84, "t"),
}


def start(profile):
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-sync",
               "--disable-dev-shm-usage", "--no-proxy-server", "--hide-scrollbars",
               "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    browser = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    for line in browser.stderr:
        if "DevTools listening on " in line:
            return browser, line.split("DevTools listening on ")[1].strip()
    raise RuntimeError("the browser did not start")


class Page:
    def __init__(self, socket):
        self.socket, self.last, self.waiting, self.errors = socket, 0, {}, []
        self.session, self.loaded = None, asyncio.Event()

    async def listen(self):
        async for text in self.socket:
            message = json.loads(text)
            if "id" in message:
                self.waiting.pop(message["id"]).set_result(message)
            elif message["method"] == "Page.loadEventFired":
                self.loaded.set()
            else:
                self.note(message["method"], message.get("params", {}))

    def note(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(" ".join(str(one.get("value", "")) for one in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            entry = params["entry"]
            self.errors.append(f"{entry['text']} {entry.get('url', '')}")

    async def send(self, method, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        answer = self.waiting[self.last] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps(message))
        answer = await asyncio.wait_for(answer, LIMIT)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def attach(self):
        target = await self.send("Target.createTarget", url="about:blank")
        attached = await self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")

    async def eval(self, expression):
        result = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True,
                                 returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    async def until(self, expression):
        deadline = asyncio.get_running_loop().time() + LIMIT
        while not (value := await self.eval(expression)):
            if asyncio.get_running_loop().time() > deadline:
                body = await self.eval("document.body.innerText")
                raise RuntimeError(f"never happened: {expression}\nerrors: {self.errors}\n{body}")
            await asyncio.sleep(0.05)
        return value

    async def key(self, name):
        code, number, text = KEYS[name]
        key = {"key": name, "code": code, "windowsVirtualKeyCode": number}
        await self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **key)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **key)

    async def do(self, command):
        (name, value), = command.items()
        if name == "open":
            self.loaded.clear()
            await self.send("Page.navigate", url=value)
            await asyncio.wait_for(self.loaded.wait(), LIMIT)
        elif name == "eval":
            return await self.eval(value)
        elif name == "until":
            return await self.until(value)
        elif name == "script":
            with open(value, encoding="utf-8") as file:
                await self.eval(file.read() + "\n;0")
        elif name == "key":
            await self.key(value)
        elif name == "type":
            await self.send("Input.insertText", text=value)
        elif name == "dark":
            scheme = "dark" if value else "light"
            await self.send("Emulation.setEmulatedMedia", features=[
                {"name": "prefers-color-scheme", "value": scheme}])
        elif name == "size":
            await self.send("Emulation.setDeviceMetricsOverride", width=value[0], height=value[1],
                            deviceScaleFactor=1, mobile=False)
        elif name == "screenshot":
            shot = await self.send("Page.captureScreenshot", format="png")
            with open(value, "wb") as file:
                file.write(base64.b64decode(shot["data"]))
        elif name == "errors":
            return self.errors
        else:
            raise RuntimeError(f"unknown: {name}")
        return None


async def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser, address = start(profile)
        try:
            async with websockets.connect(address, max_size=None) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                await page.attach()
                await page.do({"size": [1280, 900]})
                loop = asyncio.get_running_loop()
                while line := await loop.run_in_executor(None, sys.stdin.readline):
                    try:
                        answer = {"ok": await page.do(json.loads(line))}
                    except Exception as error:  # Told to the test, which fails with it.
                        answer = {"error": str(error) or repr(error)}
                    print(json.dumps(answer), flush=True)
                listening.cancel()
        finally:
            browser.kill()
            browser.wait()


asyncio.run(main())
