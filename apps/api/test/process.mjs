// The API as a process of its own, with an ApiConfig as JSON in its argument. Prints where it is.
import { startApi } from '../bundle/index.js';

const { close, ...where } = await startApi(JSON.parse(process.argv[2]));
process.stdout.write(`ready ${JSON.stringify(where)}\n`);
process.on('SIGTERM', () => void close().then(() => process.exit(0)));
