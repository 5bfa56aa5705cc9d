import { useNavigate } from '@tanstack/react-router';
import { Plus, Rows3 } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay, useMayRequest } from '../api/own-key.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';

interface Props {
  /** Returns the sample data. */
  readonly sample: () => File;
}

/** Empty list. The commands work as shown, except for the name of the data file. */
export function NoJobs({ sample }: Props) {
  const may = useMay();
  const navigate = useNavigate();
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const canRead = useMayRequest()('models:read');
  const models = useLoaded(['models', canRead], async () =>
    canRead ? (await api.models()).data : [],
  );
  const base = models.value?.find((m) => m.graft?.kind === 'base' && m.graft.status === 'ready');
  const takeSample = async () => {
    setBusy(true);
    const { id } = await api.uploadFile(sample());
    await navigate({ to: '/new', search: { training_file: id } });
  };
  const canCreate = may('jobs:write', 'models:read', 'files:read');
  return (
    <EmptyState
      icon={<Rows3 />}
      title="No jobs yet"
      text="A job trains an adapter on your data. When it finishes, chat with it, download it or serve it."
      actions={
        canCreate && (
          <>
            <ButtonLink variant="primary" icon={<Plus />} to="/new">
              New job
            </ButtonLink>
            <ButtonLink to="/find">Find a method</ButtonLink>
            {may('files:write') && (
              <Button
                variant="ghost"
                busy={isBusy}
                onClick={() => {
                  takeSample().catch((failure: Error) => {
                    setBusy(false);
                    setError(failure);
                  });
                }}
              >
                Use sample data
              </Button>
            )}
          </>
        )
      }
    >
      <Failure error={error} />
      <pre>
        {!base && 'npx graft models import hub:HuggingFaceTB/SmolLM2-135M-Instruct\n'}
        {`npx graft submit --model ${base?.id ?? 'HuggingFaceTB/SmolLM2-135M-Instruct'} --train yours.jsonl --watch`}
      </pre>
    </EmptyState>
  );
}
