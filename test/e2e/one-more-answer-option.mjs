// Adds an option for chats that Graft does not have: its schema and its use. The spec's API and trainer load
// this file first, as if the option were in libs/contracts/src/messages/requests/generate.ts.
import { answerOptions, MODEL_REQUESTS } from '@graft/contracts';
import { z } from 'zod';

const shout = z.boolean().nullish().describe('The answer in capitals');

answerOptions.shout = shout;
// Extend the schema as well, because it was built from `answerOptions` when its module was loaded.
MODEL_REQUESTS.generate.request = MODEL_REQUESTS.generate.request.extend({ shout });
