// Types for the pages' scripts: what the API answers, as far as they use it, and the two libraries.

interface Attempt {
  relay: string;
  stage: string;
  code: number | null;
  reply: string;
  started_at: string;
  seconds: number;
  charged: boolean;
  uncertain: boolean;
}

interface Recipient {
  address: string;
  status: string;
  code: number | null;
  reply: string;
  later?: { state: string; at: string; code: string; text: string };
}

interface TimelineEntry {
  at: string;
  what: string;
  detail: string;
  by: string | null;
}

interface Message {
  id: string;
  status: string;
  channel: "email" | "sms";
  subject: string;
  from: string;
  recipients: Recipient[];
  attempts: Attempt[];
  uncertain: number;
  partial: boolean;
  bounced: boolean;
  handed_to: string | null;
  warnings: string[];
  reason: string | null;
  created_at: string;
  due_at: string;
  expires_at: string;
  finished_at: string | null;
  reference: string | null;
  tags: string[];
  metadata: Record<string, unknown>;
  key: string | null;
  user_id: string | null;
  copy_of: string | null;
  timeline: TimelineEntry[];
}

interface Conversation extends Attempt {
  conversation: string[];
}

interface Attachment {
  number: number;
  name: string;
  type: string;
  size: number;
}

interface CallbackAnswer {
  message: string;
  event: string;
  answered_at: string;
  code: number | null;
  reply: string;
  tries: number;
  outcome: "told" | "gone" | "given_up" | null;
}

interface Callback {
  key: string;
  url: string;
  state: "working" | "failing" | "paused";
  reason: string | null;
  waiting: number;
  oldest_waiting_at: string | null;
  last_answers: CallbackAnswer[];
}

interface RelayToken {
  source: string;
  good_until: string | null;
  trouble: string;
}

interface Relay {
  name: string;
  host: string | null;
  port: number | null;
  tls: string | null;
  state: string;
  busy: number;
  limit: number;
  trouble: { name: string; text: string } | null;
  opens_at: string | null;
  sent: number;
  failed: number;
  pipelining: string | null;
  pipelining_trouble: string;
  conditions: Record<string, string[]>;
  pace: number | null;
  held_until: string | null;
  throttled: number;
  token: RelayToken | null;
}

interface WorkerState {
  message: string | null;
  route: string | null;
  recipients: number;
  subject: string;
}

interface Minute {
  at: string;
  accepted: number;
  sent: number;
  failed: number;
  waiting: number;
}

interface Stats {
  paused: boolean;
  waiting: number;
  oldest_due_at: string | null;
  bounced: number;
  counts: Record<string, number>;
  workers: WorkerState[];
  reasons: string[];
  relays: Relay[];
  callbacks: number;
  minutes: Minute[];
}

interface AuditRecord {
  at: string;
  by: string;
  what: string;
  on: string;
  count: number;
  detail: string;
}

interface Suppression {
  address: string;
  reason: string;
  key: string | null;
  since: string;
  until: string | null;
  source: string;
}

interface MailSummary {
  id: string;
  at: string;
  recipients: string[];
  subject: string;
  gist: string;
  files: number;
}

interface Mail {
  id: string;
  at: string;
  sender: string;
  recipients: string[];
  subject: string;
  size: number;
  text: string;
  html: string;
  headers: [string, string][];
  attachments: Attachment[];
}

// A child of an element: text is put in as text, null is left out.
type Child = Node | string | null | Child[];
type Refresh = () => Promise<unknown>;

declare class uPlot {
  constructor(options: object, data: number[][], place: HTMLElement);
  root: HTMLElement;
  width: number;
  setData(data: number[][]): void;
  setSize(size: { width: number; height: number }): void;
  destroy(): void;
}

interface Window {
  SwaggerUIBundle(options: object): void;
}
