import { Injectable } from '@nestjs/common';
import { DomainError, type CreateJob, type Spec } from '@graft/contracts';
import { usesOfTask } from '../catalog/plugins.js';
import { Database } from '../database/database.js';

const PARAM = 'graft.eval';

/** Eval that scores a job's checkpoints. */
@Injectable()
export class JobEval {
  constructor(private readonly database: Database) {}

  /**
   * Replaces an eval in the request by the run that checkpoints repeat: its newest run that generated answers
   * with a model.
   * @throws DomainError if there is no such run, or if the job's checkpoints cannot generate answers
   */
  async resolved(projectId: string, request: CreateJob, spec: Spec): Promise<CreateJob> {
    const id = request.graft?.eval;
    if (!id) return request;
    if (spec.peft === null)
      throw refusal(
        'checkpoints of full fine-tuning cannot generate answers; train an adapter (`peft`)',
      );
    if (!usesOfTask(spec.task).includes('chat'))
      throw refusal(`models of task ${spec.task} generate no text to grade`);
    const [run] = await this.database.query<{ id: string; type: string }>(
      `SELECT id, data_source->>'type' AS type FROM eval_run
       WHERE project_id = $1 AND items_deleted_at IS NULL AND (id = $2 OR (eval_id = $2 AND data_source->>'type' <> 'jsonl'))
       ORDER BY created_at DESC, id DESC LIMIT 1`,
      [projectId, id],
    );
    if (run && run.type !== 'jsonl')
      return { ...request, graft: { ...request.graft, eval: run.id } };
    if (run)
      throw refusal(
        `${id} grades answers from a file; name a run that generated its answers with a model`,
      );
    const shown = id.slice(0, 60);
    throw new DomainError(
      'not_found',
      id.startsWith('eval_')
        ? `${shown} does not exist, or has no run that generated answers with a model and still has its items; run the eval on the base model first: checkpoints are compared with that run`
        : `No such Run: ${shown}`,
      PARAM,
    );
  }
}

const refusal = (message: string): DomainError => new DomainError('invalid_value', message, PARAM);
