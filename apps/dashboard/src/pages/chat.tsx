import type { Catalog, InputKind, ModelObject, ModelUse } from '@graft/contracts';
import { overApi } from '@graft/contracts/model-snippets';
import { useNavigate } from '@tanstack/react-router';
import { Code, MessageSquareText, SlidersHorizontal } from 'lucide-react';
import { useState, type ReactNode } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { useMedia } from '../browser/media-query.js';
import { ImageLabelBox, ImageSimilarityBox } from '../chat/media/image-box.js';
import { AudioLabelBox, TranscriptBox } from '../chat/media/audio-box.js';
import { chatCode } from '../chat/conversation/chat-code.js';
import { changes, settingsProblem, type ChatSettings } from '../chat/conversation/chat-settings.js';
import { Conversation } from '../chat/conversation/conversation.js';
import { savedSettings, saveSettings } from '../chat/conversation/saved-settings.js';
import { SettingsPanel } from '../chat/conversation/settings-panel.js';
import { EmbedBox } from '../chat/embeddings/embed-box.js';
import { ModelPickers } from '../chat/model-picker.js';
import { TextBox } from '../chat/text/text-box.js';
import { Callout } from '../ui/feedback/callout.js';
import { CodeBlock, type CodeTab } from '../ui/code-block.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { Segmented } from '../ui/controls/segmented.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Drawer } from '../ui/overlays/drawer.js';
import { Page } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';

const USES: Readonly<Record<ModelUse, string>> = {
  chat: 'Chat',
  embed: 'Embeddings',
  classify: 'Labels',
  transcribe: 'Transcripts',
};

/** Properties of a playground. */
export interface BoxProps {
  readonly models: readonly string[];
  /** Task of the first model, if it is known. */
  readonly task: string | null;
}

type Other = Exclude<ModelUse, 'chat'>;
type Boxes = Readonly<Partial<Record<Other, (props: BoxProps) => ReactNode>>>;

/** Components by the kind of input that a model reads. */
const BOX: Readonly<Record<InputKind, Boxes>> = {
  tokens: { embed: EmbedBox, classify: TextBox },
  image: { embed: ImageSimilarityBox, classify: ImageLabelBox },
  audio: { classify: AudioLabelBox, transcribe: TranscriptBox },
};

/** Returns the uses of a model. A model that is being imported counts as a chat model. */
const usesOf = (model: ModelObject | undefined): readonly ModelUse[] =>
  model?.graft?.uses.length ? model.graft.uses : ['chat'];

/** Whether a model can be used: it is imported and not an export for other programs. */
const isUsable = ({ graft }: ModelObject): boolean =>
  (graft?.status ?? 'ready') === 'ready' && graft?.kind !== 'export';

const taskOf = (catalog: Catalog | null, model: ModelObject | undefined) =>
  catalog?.tasks.find(({ name }) => name === model?.graft?.task);

/** Returns the kind of input, from the model's task or its family. */
const inputsOf = (catalog: Catalog | null, model: ModelObject | undefined): InputKind =>
  taskOf(catalog, model)?.inputs ??
  catalog?.families.find(({ name }) => name === model?.graft?.family)?.inputs ??
  'tokens';

/** Value of the parameter `with` for no comparison. Without the parameter, it is the model's base. */
const NONE = 'none';

interface Props {
  readonly model: string | null;
  /** Model to compare with, `NONE`, or null for the model's base. */
  readonly beside: string | null;
}

/** Loads the models, and those in the address that are not in the list, such as checkpoints. */
function useModels(named: readonly (string | null)[]) {
  const list = useLoaded(['models', 'ready'], async () =>
    (await api.models()).data.filter(isUsable),
  );
  const missing = named.filter(
    (id): id is string =>
      id !== null && id !== NONE && list.value?.every((one) => one.id !== id) === true,
  );
  const others = useLoaded(['models', 'named', ...missing], () =>
    Promise.all(missing.map((id) => api.model(id))),
  );
  const catalog = useLoaded(['catalog'], api.catalog);
  return {
    models: [...(others.value ?? []), ...(list.value ?? [])],
    catalog: catalog.value,
    error: list.error ?? others.error,
    ready:
      (list.value !== null || list.error !== null) &&
      (catalog.value !== null || catalog.error !== null) &&
      (missing.length === 0 || others.value !== null || others.error !== null),
  };
}

/** Returns the models that the page shows, and how they are used. */
function useChoice({ model, beside }: Props) {
  const { models, catalog, error, ready } = useModels([model, beside]);
  const [chosenUse, setUse] = useState<ModelUse | null>(null);
  const chosen =
    models.find(({ id }) => id === model) ??
    (model === null ? (models.find((m) => m.graft?.kind !== 'base') ?? models[0]) : undefined);
  const uses = usesOf(chosen);
  const use = chosenUse !== null && uses.includes(chosenUse) ? chosenUse : (uses[0] ?? 'chat');
  const inputs = inputsOf(catalog, chosen);
  const fitting = models.filter(
    (m) => m.id !== chosen?.id && usesOf(m).includes(use) && inputsOf(catalog, m) === inputs,
  );
  const itsBase = fitting.find(({ id }) => id === chosen?.graft?.base);
  // The base comes first, because it is what a model is compared with most.
  const compared = itsBase ? [itsBase, ...fitting.filter((m) => m !== itsBase)] : fitting;
  const wanted = beside ?? itsBase?.id ?? null;
  const second = compared.some(({ id }) => id === wanted) ? wanted : null;
  return { models, catalog, error, ready, chosen, uses, use, setUse, inputs, compared, second };
}

/**
 * Tries a model next to its base or another model. Both receive the same input, in a form that fits
 * the model's use.
 */
export function ChatPage(props: Props) {
  const choice = useChoice(props);
  const { models, catalog, error, ready, chosen, use, inputs, second } = choice;
  const navigate = useNavigate();
  const settings = useSettings();
  const [body, setBody] = useState<Readonly<Record<string, unknown>> | null>(null);
  const [showsCode, setShowsCode] = useState(false);
  const open = (model: string, beside: string | null) =>
    void navigate({
      to: '/chat',
      search: { model, ...(beside !== null && { with: beside }) },
      replace: true,
    });
  const isChat = use === 'chat';
  const sides = chosen ? [chosen.id, ...(second === null ? [] : [second])] : [];
  const Box = isChat ? null : BOX[inputs][use];
  const isEmpty = ready && error === null && models.length === 0;
  return (
    <Page
      title="Try"
      width={isChat ? 'full' : 'page'}
      actions={
        chosen && (
          <Actions
            choice={choice}
            settings={isChat ? settings : null}
            showCode={() => setShowsCode(true)}
          />
        )
      }
    >
      {error && (
        <Callout
          tone="error"
          action={
            <ButtonLink size="s" to="/models">
              Open models
            </ButtonLink>
          }
        >
          {error.message}
        </Callout>
      )}
      {!ready && <Skeleton height={32} width={420} />}
      {isEmpty && <NoModel />}
      {ready && chosen && (
        <ModelPickers
          models={models}
          catalog={catalog}
          chosen={chosen.id}
          choose={(id) => open(id, null)}
          fitting={choice.compared}
          second={second}
          compareWith={(id) => open(chosen.id, id ?? NONE)}
        />
      )}
      {ready && chosen && isChat && (
        <Conversation
          key={sides.join()}
          models={sides}
          settings={settings.value}
          panel={settings.isWide && settings.isOpen ? <SidePanel settings={settings} /> : null}
          openSettings={() => settings.open(true)}
          next={setBody}
        />
      )}
      {ready && Box && chosen && (
        <Box key={[use, ...sides].join()} models={sides} task={chosen.graft?.task ?? null} />
      )}
      {isChat && <SettingsDrawer settings={settings} />}
      {showsCode && chosen && (
        <Drawer title="Code" close={() => setShowsCode(false)}>
          <RequestCode tabs={isChat ? body && chatCode(body, location.origin) : codeOf(choice)} />
        </Drawer>
      )}
    </Page>
  );
}

interface ActionsProps {
  readonly choice: ReturnType<typeof useChoice>;
  /** Settings of chats. Null for other uses. */
  readonly settings: Settings | null;
  readonly showCode: () => void;
}

const Actions = ({ choice: { uses, use, setUse }, settings, showCode }: ActionsProps) => (
  <>
    {uses.length > 1 && (
      <Segmented<ModelUse>
        label="Use of the model"
        value={use}
        change={setUse}
        choices={uses.map((one) => [one, USES[one]])}
      />
    )}
    {settings && <SettingsButton settings={settings} />}
    <Button icon={<Code />} onClick={showCode}>
      Code
    </Button>
  </>
);

/** Code that sends a request of another use than chats. */
const codeOf = ({ chosen, use, catalog }: ReturnType<typeof useChoice>): readonly CodeTab[] =>
  overApi(chosen?.id ?? '', use, taskOf(catalog, chosen) ?? null, location.origin);

const PANEL = 'graft.chat_panel';

/** Settings of chats, kept in this browser, and whether they are shown. */
function useSettings() {
  const [value, setValue] = useState(savedSettings);
  const isWide = useMedia('(min-width: 1100px)');
  const [isOpen, setOpen] = useState(isWide && localStorage.getItem(PANEL) === 'open');
  const change = (now: ChatSettings) => {
    setValue(now);
    saveSettings(now);
  };
  const open = (now: boolean) => {
    setOpen(now);
    localStorage.setItem(PANEL, now ? 'open' : 'closed');
  };
  return { value, change, isOpen, open, isWide };
}

type Settings = ReturnType<typeof useSettings>;

function SettingsButton({ settings: { value, isOpen, open } }: { settings: Settings }) {
  const changed = changes(value);
  return (
    <Button icon={<SlidersHorizontal />} aria-expanded={isOpen} onClick={() => open(!isOpen)}>
      Settings
      {changed > 0 && (
        <span className="badge" title={`${changed} differ from their defaults`}>
          {changed}
        </span>
      )}
    </Button>
  );
}

const Panel = ({ settings: { value, change } }: { settings: Settings }) => (
  <SettingsPanel settings={value} change={change} wrong={settingsProblem(value)} />
);

const SettingsDrawer = ({ settings }: { settings: Settings }) =>
  settings.isOpen && !settings.isWide ? (
    <Drawer title="Settings" close={() => settings.open(false)}>
      <Panel settings={settings} />
    </Drawer>
  ) : null;

const SidePanel = ({ settings }: { settings: Settings }) => (
  <section className="chat-panel" aria-label="Settings">
    <Panel settings={settings} />
  </section>
);

function RequestCode({ tabs }: { tabs: readonly CodeTab[] | null }) {
  if (tabs === null) return <p>Correct the settings first.</p>;
  return (
    <>
      <p className="faint">The request that the next message sends, from your own program.</p>
      <CodeBlock tabs={tabs} />
    </>
  );
}

function NoModel() {
  const may = useMay();
  const canImport = may('admin');
  const canTrain = may('jobs:write', 'models:read', 'files:read');
  return (
    <EmptyState
      icon={<MessageSquareText />}
      title="Nothing to try yet"
      text="Import a base model or train one. Then ask it something, and compare its answers with those of another model."
      actions={
        <>
          {canImport && (
            <ButtonLink variant="primary" to="/models">
              Import a base model
            </ButtonLink>
          )}
          {canTrain && (
            <ButtonLink variant={canImport ? 'secondary' : 'primary'} to="/new">
              Train a model
            </ButtonLink>
          )}
        </>
      }
    />
  );
}
