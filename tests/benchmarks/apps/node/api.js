// The process that takes messages: a POST is checked against a JSON schema, and becomes a job of BullMQ.
// Each connection is kept alive, as Node does by default.

const { Queue } = require("bullmq");
const fastify = require("fastify");
const { Redis } = require("ioredis");

const PORT = Number(process.env.BENCH_PORT);
const queue = new Queue("mails", {
  connection: new Redis(process.env.BENCH_REDIS, { maxRetriesPerRequest: null }),
  defaultJobOptions: {
    attempts: 5,
    backoff: { type: "exponential", delay: 1000 },
    removeOnComplete: true,
  },
});
const app = fastify();

app.post(
  "/mails",
  {
    schema: {
      body: {
        type: "object",
        required: ["from", "to", "subject", "text"],
        additionalProperties: false,
        properties: {
          from: { type: "string", format: "email" },
          to: { type: "array", minItems: 1, items: { type: "string", format: "email" } },
          subject: { type: "string" },
          text: { type: "string" },
        },
      },
      response: { 202: { type: "object", properties: { id: { type: "string" } } } },
    },
  },
  async (request, reply) => {
    const job = await queue.add("send", request.body);
    reply.code(202);
    return { id: job.id };
  },
);

app.listen({ host: "127.0.0.1", port: PORT });
