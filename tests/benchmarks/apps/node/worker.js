// The process that sends: jobs side by side, over a pool of connections that are kept.

const { Worker } = require("bullmq");
const { Redis } = require("ioredis");
const nodemailer = require("nodemailer");

const [host, port] = process.env.BENCH_RELAY.split(":");
const transport = nodemailer.createTransport({
  pool: true,
  host,
  port: Number(port),
  name: "localhost",
  ignoreTLS: true,
  maxConnections: 16,
  maxMessages: 1000,
});

new Worker("mails", ({ data }) => transport.sendMail(data), {
  connection: new Redis(process.env.BENCH_REDIS, { maxRetriesPerRequest: null }),
  concurrency: Number(process.env.BENCH_CONCURRENCY),
});
