import type { ModelObject } from '@graft/contracts';
import { Import, Layers } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { ImportBase } from '../models/import-base.js';
import { modelLists } from '../models/model-lists.js';
import { BaseTable, ExportTable, TunedTable } from '../models/model-tables.js';
import { Callout } from '../ui/feedback/callout.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';
import { Loading } from '../ui/feedback/loading.js';
import { Page, Section } from '../ui/page.js';

/** Number of models from which a search field is useful. */
const SEARCH_FROM = 8;

/** Base models, fine-tuned models and exports. */
export function ModelsPage() {
  const models = useLoaded(['models'], async () => (await api.models()).data, 3000);
  const [search, setSearch] = useState('');
  const [error, setError] = useState<Error | null>(null);
  const [isImporting, setImporting] = useState(false);
  const may = useMay();
  const lists = modelLists(models.value ?? [], search);
  const rest = { onError: setError, reload: models.reload };
  return (
    <Page
      title="Models"
      width="full"
      actions={
        may('admin') && (
          <Button variant="primary" icon={<Import />} onClick={() => setImporting(true)}>
            Import base model
          </Button>
        )
      }
    >
      <Failure error={error ?? models.error} />
      {models.value === null && <Loading error={models.error} />}
      {(models.value?.length ?? 0) >= SEARCH_FROM && (
        <input
          type="search"
          aria-label="Search models"
          placeholder="Search: name, base, family…"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
        />
      )}
      {lists.failed.map((model) => (
        <FailedImport key={model.id} model={model} {...rest} />
      ))}
      {models.value?.length === 0 && <NoModels importBase={() => setImporting(true)} />}
      {lists.tuned.length > 0 && (
        <Section title="Fine-tuned">
          <TunedTable models={lists.tuned} {...rest} />
        </Section>
      )}
      {lists.bases.length > 0 && (
        <Section title="Base models">
          <BaseTable models={lists.bases} {...rest} />
        </Section>
      )}
      {lists.exports.length > 0 && (
        <Section title="Exports" text="Files for other programs, such as llama.cpp and vLLM.">
          <ExportTable models={lists.exports} {...rest} />
        </Section>
      )}
      {isImporting && <ImportBase close={() => setImporting(false)} imported={models.reload} />}
    </Page>
  );
}

interface FailedImportProps {
  readonly model: ModelObject;
  readonly onError: (error: Error) => void;
  readonly reload: () => void;
}

/** Reason why an import failed, until the user removes it. */
function FailedImport({ model: { id, graft }, onError, reload }: FailedImportProps) {
  const may = useMay();
  const remove = () => api.deleteModel(id).then(reload, onError);
  return (
    <Callout
      tone="error"
      title={`${id} could not be imported.`}
      action={
        may('admin') && (
          <Button size="s" aria-label={`Dismiss ${id}`} onClick={() => void remove()}>
            Dismiss
          </Button>
        )
      }
    >
      {graft?.status_details}
    </Callout>
  );
}

function NoModels({ importBase }: { importBase: () => void }) {
  const isAdmin = useMay()('admin');
  return (
    <EmptyState
      icon={<Layers />}
      title="No models yet"
      text={
        isAdmin
          ? 'Jobs train adapters for a base model. Import one from Hugging Face, or a folder or GGUF file on the server.'
          : 'Base models are imported by an admin. Fine-tuned models appear here when their jobs finish.'
      }
      actions={
        isAdmin ? (
          <Button variant="primary" icon={<Import />} onClick={importBase}>
            Import base model
          </Button>
        ) : (
          <ButtonLink to="/">Go to jobs</ButtonLink>
        )
      }
    />
  );
}
