import type { FileReport } from '@graft/contracts';
import { Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import type { Columns, HfConfig } from '../../catalog/plugins.js';
import { Big, DeletedAt, Float, Int, Json, Now, Text, Time, optional } from '../columns.js';

export interface StoredFile {
  readonly name: string;
  readonly sha256: string;
  readonly size: number;
}

/** Content on disk under its own hash. */
@Entity('blob')
export class Blob {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'blob_pk' }) sha256!: string;
  @Big() size!: number;
  /** When it was last put. */
  @Now() created_at!: Date;
  /** When a row last ceased to name it; kept by a trigger. Null where none but parts of uploads ever did. */
  @Time(optional) dropped_at!: Date | null;
}

/** A blob that a row names; kept by triggers on the tables that have such rows. */
@Entity('blob_ref')
@Index('blob_ref_owner', ['kind', 'owner_id'])
@Index('blob_ref_project', ['project_id', 'sha256'])
export class BlobRef {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'blob_ref_pk' }) sha256!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'blob_ref_pk' }) kind!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'blob_ref_pk' }) owner_id!: string;
  /** Whose storage it takes; null for what is everybody's. */
  @Text(optional) project_id!: string | null;
  @Big() size!: number;
}

/** A content that a project's rows name, and how many do; kept by triggers on `blob_ref`. */
@Entity('project_blob')
export class ProjectBlob {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'project_blob_pk' }) project_id!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'project_blob_pk' }) sha256!: string;
  @Big() size!: number;
  @Int() refs!: number;
}

/** Of what a project stores, in bytes: the sum of its rows is all of it. Kept by triggers on `blob_ref` and on
 * `eval_run`. */
@Entity('storage_change')
@Index('storage_change_project', ['project_id'])
export class StorageChange {
  @PrimaryGeneratedColumn('identity', {
    type: 'bigint',
    primaryKeyConstraintName: 'storage_change_pk',
  })
  id!: string;
  @Text() project_id!: string;
  @Big() bytes!: number;
}

@Entity('file')
@Index('file_project', ['project_id', 'created_at', 'id'])
@Index('file_sha256', ['sha256'])
@Index('file_expires', ['expires_at'], { where: 'expires_at IS NOT NULL' })
export class File {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'file_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() filename!: string;
  @Text() purpose!: string;
  @Big() bytes!: number;
  @Text() sha256!: string;
  @Text() status!: 'uploaded' | 'processed' | 'error';
  @Text(optional) status_details!: string | null;
  /** Training records in it. */
  @Int({ default: 0 }) records!: number;
  /** What the check of training data found. */
  @Json(optional) report!: FileReport | null;
  /** The job that made it, for result files. */
  @Text(optional) job_id!: string | null;
  @Now() created_at!: Date;
  @Time(optional) expires_at!: Date | null;
  /** With its job. */
  @DeletedAt() deleted_at!: Date | null;
}

/** A base (no project: everybody's), or what a job of a project made. */
@Entity('model')
@Index('model_project', ['project_id'])
export class Model {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'model_pk' }) id!: string;
  @Text(optional) project_id!: string | null;
  @Text() kind!: 'base' | 'adapter' | 'full' | 'export';
  @Text(optional) base_id!: string | null;
  @Text(optional) job_id!: string | null;
  @Text(optional) family!: string | null;
  @Text() status!: 'importing' | 'ready' | 'error';
  @Text(optional) status_details!: string | null;
  @Float(optional) progress!: number | null;
  @Big(optional) parameters!: number | null;
  @Big({ default: 0 }) bytes!: number;
  @Text(optional) source!: string | null;
  /** How the base lay in memory when it was trained, */
  @Text(optional) base_dtype!: string | null;
  /** and how it was packed. */
  @Text(optional) quantization!: string | null;
  @Json({ default: () => "'[]'" }) files!: StoredFile[];
  /** Its config.json (of a GGUF: what its header says); null until somebody has looked. */
  @Json(optional) config!: HfConfig | null;
  /** Who imports it, and until when that is sure. */
  @Text(optional) import_owner!: string | null;
  @Time(optional) import_until!: Date | null;
  @Now() created_at!: Date;
  /** With its job. */
  @DeletedAt() deleted_at!: Date | null;
}

/** A file that arrives in parts. */
@Entity('upload')
@Index('upload_pending', ['expires_at'], { where: "status = 'pending'" })
@Index('upload_file', ['file_id'], { where: 'file_id IS NOT NULL' })
export class Upload {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'upload_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() filename!: string;
  @Text() purpose!: string;
  /** Of all its parts together. */
  @Big() bytes!: number;
  /** Which column of a table is what. */
  @Json({ default: () => "'{}'" }) columns!: Columns;
  /** Of the file. */
  @Int(optional) lifetime_seconds!: number | null;
  @Text({ default: 'pending' }) status!: 'pending' | 'completed' | 'cancelled' | 'expired';
  @Text(optional) file_id!: string | null;
  @Now() created_at!: Date;
  @Time() expires_at!: Date;
}

@Entity('upload_part')
@Index('upload_part_upload', ['upload_id', 'created_at'])
export class UploadPart {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'upload_part_pk' }) id!: string;
  @Text() upload_id!: string;
  @Text() sha256!: string;
  @Big() size!: number;
  @Now() created_at!: Date;
}

/** What a file was found to be for a base; named by a hash of everything that this depends on. */
@Entity('data_report')
export class StoredReport {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'data_report_pk' }) key!: string;
  @Json() outcome!: Record<string, unknown>;
  @Now() created_at!: Date;
}

/** A blob that an attempt put; only these may be named in its facts. */
@Entity('artifact')
@Index('artifact_sha256', ['sha256'])
export class Artifact {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'artifact_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'artifact_pk' }) attempt!: number;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'artifact_pk' }) sha256!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'artifact_pk' }) name!: string;
  @Big() size!: number;
  @Now() created_at!: Date;
}
