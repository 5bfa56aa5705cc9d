import type { Catalog, InputKind, ModelObject, ModelUse } from '@graft/contracts';
import { useState, type ReactNode } from 'react';
import { api } from '../api/api.js';
import { ClassifyBox, EmbedBox } from '../chat/ask-box.js';
import { DEFAULTS } from '../chat/chat-settings.js';
import { Conversation } from '../chat/conversation.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { ImageSimilarityBox, ImageLabelBox } from '../chat/image-box.js';
import { AudioLabelBox, TranscriptBox } from '../chat/audio-box.js';
import { useLoaded } from '../api/loaded.js';

const TITLE: Readonly<Record<ModelUse, string>> = {
  chat: 'Chat',
  embed: 'Embeddings',
  classify: 'Labels',
  transcribe: 'Transcripts',
};

type Other = Exclude<ModelUse, 'chat'>;
type Boxes = Readonly<Partial<Record<Other, (props: { models: readonly string[] }) => ReactNode>>>;

/** Components by the kind of input that a model reads. */
const BOX: Readonly<Record<InputKind, Boxes>> = {
  tokens: { embed: EmbedBox, classify: ClassifyBox },
  image: { embed: ImageSimilarityBox, classify: ImageLabelBox },
  audio: { classify: AudioLabelBox, transcribe: TranscriptBox },
};

/** Returns the uses of a model. A model that is being imported counts as a chat model. */
const usesOf = (model: ModelObject | undefined): readonly ModelUse[] =>
  model?.graft?.uses.length ? model.graft.uses : ['chat'];

/** Whether a model can be used: it is imported and not an export for other programs. */
const isUsable = ({ graft }: ModelObject): boolean =>
  (graft?.status ?? 'ready') === 'ready' && graft?.kind !== 'export';

/** Returns the kind of input, from the model's task or its family. */
const inputsOf = (catalog: Catalog | null, model: ModelObject | undefined): InputKind =>
  catalog?.tasks.find(({ name }) => name === model?.graft?.task)?.inputs ??
  catalog?.families.find(({ name }) => name === model?.graft?.family)?.inputs ??
  'tokens';

/**
 * Compares a fine-tuned model with its base or another model. Both receive the same input, in a
 * form that fits the model's use.
 */
export function ChatPage({ model }: { model: string | null }) {
  const models = useLoaded(['models', 'ready'], async () =>
    (await api.models()).data.filter(isUsable),
  );
  // Checkpoints are models that are not in the list.
  const named = useLoaded(['model', model], async () => (model ? await api.model(model) : null));
  const [chosen, setChosen] = useState(model ?? '');
  /** Null selects the model's base, if it has one. '' selects none. */
  const [comparedModel, setComparedModel] = useState<string | null>(null);
  // Kept while the user switches between models.
  const [settings, setSettings] = useState(DEFAULTS);
  const [chosenUse, setChosenUse] = useState<ModelUse | null>(null);
  const catalog = useLoaded(['catalog'], api.catalog);
  const list: readonly ModelObject[] = models.value ?? [];
  const current = chosen || (list.find((m) => m.graft?.kind !== 'base') ?? list[0])?.id;
  const allModels = named.value ? [...list, named.value] : list;
  const shown = allModels.find((m) => m.id === current);
  const uses = usesOf(shown);
  const use = chosenUse !== null && uses.includes(chosenUse) ? chosenUse : (uses[0] ?? 'chat');
  const itsBase = allModels.find((m) => m.id === shown?.graft?.base);
  const base = itsBase && usesOf(itsBase).includes(use) ? itsBase.id : null;
  const ready =
    models.value !== null &&
    (catalog.value !== null || catalog.error !== null) &&
    (!model || named.value !== null || named.error !== null);
  const names = list.map((m) => m.id);
  const second = comparedModel ?? base ?? '';
  const sides =
    ready && current ? [current, ...(second && second !== current ? [second] : [])] : [];
  const inputs = inputsOf(catalog.value, shown);
  const fitting = allModels.filter(
    (m) => m.id !== current && usesOf(m).includes(use) && inputsOf(catalog.value, m) === inputs,
  );
  const key = [use, ...sides].join();
  const Box = use === 'chat' ? null : BOX[inputs][use];
  return (
    <main>
      <h1>{TITLE[use]}</h1>
      <Failure error={models.error ?? named.error} />
      {!ready && <Loading error={models.error} />}
      <div className="bar">
        <label htmlFor="model">Model</label>
        <select id="model" value={current ?? ''} onChange={(e) => setChosen(e.target.value)}>
          {[...new Set(current ? [...names, current] : names)].map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
        {uses.length > 1 && (
          <select
            aria-label="Output of the model"
            value={use}
            onChange={(e) => setChosenUse(e.target.value as ModelUse)}
          >
            {uses.map((one) => (
              <option key={one} value={one}>
                {TITLE[one]}
              </option>
            ))}
          </select>
        )}
        {fitting.length > 0 && (
          <CompareWith
            models={[...new Set(fitting.map((m) => m.id))]}
            base={base}
            chosen={second}
            onChoose={setComparedModel}
          />
        )}
      </div>
      {sides.length > 0 ? (
        Box ? (
          <Box key={key} models={sides} />
        ) : (
          <Conversation key={key} models={sides} settings={settings} setSettings={setSettings} />
        )
      ) : (
        ready && <NoModel />
      )}
    </main>
  );
}

interface CompareWithProps {
  readonly models: readonly string[];
  readonly base: string | null;
  readonly chosen: string;
  readonly onChoose: (model: string) => void;
}

function CompareWith({ models, base, chosen, onChoose }: CompareWithProps) {
  return (
    <>
      <label htmlFor="beside">Compare with</label>
      <select id="beside" value={chosen} onChange={(e) => onChoose(e.target.value)}>
        <option value="">none</option>
        {models.map((id) => (
          <option key={id} value={id}>
            {id === base ? `${id} (its base)` : id}
          </option>
        ))}
      </select>
    </>
  );
}

function NoModel() {
  return (
    <p>
      Nothing to chat with yet. Import a base model under <Link to="/models">Models</Link> or train
      one, then compare answers side by side.
    </p>
  );
}
