// Verifies evidence.json so many times, and prints the nanoseconds of one time.
const fs = require("fs");
const { QuoteVerifier } = require("@phala/dcap-qvl");

const e = JSON.parse(fs.readFileSync("evidence.json", "utf8"));
const verifier = QuoteVerifier.newWithRootCa(Buffer.from(e.root, "hex"));
const quote = Buffer.from(e.quote, "hex");
const once = () => {
  const got = verifier.verify(quote, e.collateral, e.at);
  if (got.status !== "UpToDate") throw new Error("the platform is " + got.status);
};
once();
once(); // compiled by now
const n = Number(process.argv[2]);
const begun = process.hrtime.bigint();
for (let i = 0; i < n; i++) once();
console.log(Number(process.hrtime.bigint() - begun) / n);
