// Signs in and out at a demo app with Firefox, over WebDriver BiDi, and lets
// axe-core judge every page on the way. It prints one line of JSON for each page:
//
//	node visit.mjs FIREFOX APP
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const [firefox, app] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await puppeteer.launch({ browser: "firefox", executablePath: firefox, headless: true });
try {
  const page = await browser.newPage();

  // judge prints what a person and axe-core find on the page, and the order in
  // which the Tab key goes through it.
  async function judge(name) {
    await page.evaluate(axe);
    const found = await page.evaluate(async () => {
      const { violations } = await axe.run();
      return {
        text: document.body.innerText,
        h1: document.querySelectorAll("h1").length,
        violations: violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(" ")}`),
      };
    });
    const focus = [];
    const inPage = await page.$$eval("a[href], button, input:not([type=hidden])", (all) => all.length);
    for (let i = 0; i < inPage; i++) {
      await page.keyboard.press("Tab");
      const at = await page.evaluate(() => [document.activeElement.tagName, document.activeElement.textContent.trim()]);
      if (at[0] === "BODY") break; // a group of radio buttons is one stop
      focus.push(at.join(" "));
    }
    console.log(JSON.stringify({ name, url: page.url(), ...found, focus }));
  }

  // press clicks what says label, and waits for the next page.
  async function press(label) {
    const [element] = await page.$$(`::-p-xpath(//*[self::a or self::button][normalize-space()="${label}"])`);
    if (!element) throw new Error(`nothing says ${label} on ${page.url()}: ${await page.evaluate(() => document.body.innerText)}`);
    await Promise.all([page.waitForNavigation(), element.click()]);
  }

  await page.goto(app);
  await judge("home");
  await press("Sign in with Musixmatch");
  await judge("consent");
  await press("Deny");
  await judge("denied");
  await press("Sign in with Musixmatch");
  await press("Allow");
  await judge("signed in");
  await page.reload();
  await judge("signed in, reloaded");
  await press("Sign out");
  await judge("signed out");
  await page.goto(app + "/nothing");
  await judge("not found");
  await page.goto(app + "/auth/musixmatch/callback?code=x&state=y");
  await judge("forged");
} finally {
  await browser.close();
}
