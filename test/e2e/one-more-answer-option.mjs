// An option of an answer that Graft does not have: one description and one use. The spec's API and its trainer load this
// before anything else, as if the description stood in libs/contracts/src/messages/requests/generate.ts.
import { answerOptions, MODEL_REQUESTS } from '@graft/contracts';
import { z } from 'zod';

const shout = z.boolean().nullish().describe('The answer in capitals');

answerOptions.shout = shout;
// The schema was made from `answerOptions` when its file was loaded.
MODEL_REQUESTS.generate.request = MODEL_REQUESTS.generate.request.extend({ shout });
